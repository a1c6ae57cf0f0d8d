//! Masks: the tokens that a grammar allows at one step.

use std::sync::Arc;

/// The tokens of a vocabulary that may come next, one bit for each. A copy shares the bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mask(Arc<[u32]>);

impl Mask {
    /// The mask of these bits, the lowest bit of the first word for token 0.
    pub(crate) fn new(bits: impl Into<Arc<[u32]>>) -> Self {
        Self(bits.into())
    }

    /// The mask that allows no token.
    pub(crate) fn nothing() -> Self {
        Self(Arc::new([]))
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.0.iter().all(|bits| *bits == 0)
    }

    pub(crate) fn allows(&self, token: u32) -> bool {
        self.0.get(token as usize / 32).is_some_and(|bits| bits >> (token % 32) & 1 == 1)
    }

    /// The allowed tokens, in the order of their ids.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = u32> {
        (0..32 * self.0.len() as u32).filter(|token| self.allows(*token))
    }

    /// Sets the logits of all other tokens to `-inf`.
    pub(crate) fn apply(&self, logits: &mut [f32]) {
        let words = self.0.iter().copied().chain(std::iter::repeat(0));
        for (logits, word) in logits.chunks_mut(32).zip(words) {
            match word {
                u32::MAX => {}
                0 => logits.fill(f32::NEG_INFINITY),
                _ => logits.iter_mut().enumerate().filter(|(bit, _)| word >> bit & 1 == 0).for_each(
                    |(_, logit)| {
                        *logit = f32::NEG_INFINITY;
                    },
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_of_other_tokens_are_minus_infinity() {
        for vocabulary in [1, 31, 32, 33, 100] {
            let allowed = |token: u32| token % 3 == 1 || (32..64).contains(&token);
            let mut bits = vec![0_u32; vocabulary / 32 + 1];
            for token in (0..vocabulary as u32).filter(|token| allowed(*token)) {
                bits[token as usize / 32] |= 1 << (token % 32);
            }
            let mask = Mask::new(bits);
            let mut logits = vec![1.0; vocabulary];
            mask.apply(&mut logits);
            for (token, logit) in (0..).zip(&logits) {
                assert_eq!(*logit == 1.0, allowed(token), "{token}");
                assert_eq!(mask.allows(token), allowed(token), "{token}");
            }
        }
        let mut logits = vec![1.0; 40];
        Mask::nothing().apply(&mut logits);
        assert_eq!(logits, [f32::NEG_INFINITY; 40]);
        assert!(Mask::nothing().is_nothing() && !Mask::nothing().allows(0));
    }
}
