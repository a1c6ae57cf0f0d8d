//! Groups: contexts that are prefilled together, with the sequences that follow them.

use std::sync::Arc;

use crate::generation::{
    reply::Reply,
    sequence::{Sequence, SequenceSettings},
};

/// The most tokens of contexts that are prefilled together, padding included; a single context may have more. The groups depend
/// only on the contexts that have sequences: how a context is padded may show in the last bit of its keys and values.
const PREFILL_TOKENS: usize = 512;

/// A context and its sequences, none of which has a token yet. They share their settings.
pub(crate) struct ContextSequences {
    pub(crate) context: Arc<[u32]>,
    pub(crate) sequences: Vec<Sequence>,
}

/// A group. In an open queue it is one request, so that no context is padded to the length of another request's.
pub(crate) struct Group {
    pub(crate) contexts: Vec<ContextSequences>,
    pub(crate) request: Option<OpenRequest>,
}

impl Group {
    /// Whether nobody waits for it any more.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.request.as_ref().is_some_and(|request| request.reply.is_cancelled())
    }
}

/// The request that a group of an open queue answers.
pub(crate) struct OpenRequest {
    pub(crate) reply: Arc<Reply>,
    pub(crate) context: Arc<[u32]>,
    /// How the tokens of the context are scored; `None` if they are not.
    pub(crate) scoring: Option<Arc<SequenceSettings>>,
}

/// Groups contexts in their order, as many together as [`PREFILL_TOKENS`] allows. Contexts without sequences are left out.
pub(crate) fn prefill_groups(waiting: Vec<ContextSequences>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut longest = 0;
    for waiting in waiting.into_iter().filter(|waiting| !waiting.sequences.is_empty()) {
        longest = longest.max(waiting.context.len());
        match groups.last_mut() {
            Some(Group { contexts, .. }) if (contexts.len() + 1) * longest <= PREFILL_TOKENS => {
                contexts.push(waiting);
            }
            _ => {
                longest = waiting.context.len();
                groups.push(Group { contexts: vec![waiting], request: None });
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decoding, generation::sequence::SequenceSettings};

    #[test]
    fn prefill_groups_are_full_and_in_order() {
        let contexts = [200, 100, 100, 600, 1, 1].map(|length| vec![1u32; length]);
        let settings = SequenceSettings { decoding: Decoding::default(), max_new_tokens: 1, alternatives: 0 };
        let settings = Arc::new(settings);
        let waiting = contexts.iter().enumerate().map(|(context, ids)| {
            let count = usize::from(context != 4);
            let sequences = (0..count).map(|_| Sequence::new([context, 0], None, settings.clone())).collect();
            ContextSequences { context: ids.as_slice().into(), sequences }
        });
        let sizes = prefill_groups(waiting.collect())
            .iter()
            .map(|group| group.contexts.iter().map(|waiting| waiting.context.len()).collect())
            .collect::<Vec<Vec<usize>>>();
        assert_eq!(sizes, [vec![200, 100], vec![100], vec![600], vec![1]]);
    }
}
