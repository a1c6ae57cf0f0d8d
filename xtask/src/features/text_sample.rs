//! Samples that have a text.

/// A sample whose features a workflow can compute.
pub trait TextSample: Clone + Send + Sync {
    /// The text, without the context and without an end token.
    fn text(&self) -> &str;
    /// The number of tokens, the end token included.
    fn token_count(&self) -> usize;
    /// The ids of its tokens, the end token included; empty if they are not known.
    fn token_ids(&self) -> &[u32] {
        &[]
    }
    /// Whether the model ended the sample; otherwise it was cut off.
    fn finished(&self) -> bool;
}
