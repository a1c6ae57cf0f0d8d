//! Every workflow of disco.
fn main() {}
