//! What if the model may give only the texts of a list? Their distribution, scored exactly, and its policy.

mod cache;
mod encode;
mod list;
mod listed;
mod model;
mod policy;
mod scored;

pub use list::Choices;
pub use model::ChoiceModel;
pub use policy::ChoicePolicy;
