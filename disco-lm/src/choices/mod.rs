//! Listed choices: the distribution of a model over the texts of a list, scored exactly, and its policy.

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
