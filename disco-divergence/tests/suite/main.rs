//! The tests of the divergences, as one program, which is linked once.

mod checker;
mod coverage;
mod estimators;
mod family;
mod golden;
mod properties;
mod references;
