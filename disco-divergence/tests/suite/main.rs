//! The tests of the divergences, as one program, which is linked once.

mod checker;
mod coverage;
mod estimators;
mod family;
mod golden;
mod huge_scores;
mod properties;
mod references;
