//! Collective operations of a run: gathering numbers, and ending the run on every worker if it fails on one.
//!
//! With one worker each of them returns its argument.

use disco_core::Error as CoreError;
use serde::{Serialize, de::DeserializeOwned};

use super::Run;
use crate::{
    error::{Error, Result, Stage},
    gradient::ContextSamples,
    policy::{GradientScalar, PendingGradient, Policy},
    storage::crc32c,
    workers::Workers,
};

/// Sums the pending gradient of a policy over all workers; the last argument adds the step to an error.
type SumGradient<P> = fn(&mut P, &dyn Workers, &dyn Fn(CoreError) -> Error) -> Result<()>;

/// The operations of a shared run that need more of policy and samples than other runs do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sharing<P, X> {
    sum_gradient: SumGradient<P>,
    encode: fn(&[&[X]]) -> serde_json::Result<String>,
    decode: fn(&str) -> serde_json::Result<Vec<Vec<X>>>,
}

impl<P: PendingGradient, X: Serialize + DeserializeOwned> Sharing<P, X> {
    pub(crate) fn new() -> Self {
        Self {
            sum_gradient: sum_gradient::<P>,
            encode: |samples| serde_json::to_string(samples),
            decode: |text| serde_json::from_str(text),
        }
    }
}

/// Replaces the pending gradient by its sum over all workers; `named` adds the step to an error.
fn sum_gradient<P: PendingGradient>(
    policy: &mut P,
    workers: &dyn Workers,
    named: &dyn Fn(CoreError) -> Error,
) -> Result<()> {
    let (mut gradient, shape) = match policy.pending() {
        Ok(gradient) => {
            let shape = |(name, values): (&String, &Vec<P::Scalar>)| {
                [f64::from(crc32c(name.as_bytes())), values.len() as f64]
            };
            let shape = gradient.iter().flat_map(shape).collect();
            (gradient, Ok(shape))
        }
        Err(error) => (Default::default(), Err(named(error))),
    };
    // Sums of lists of different lengths would never end.
    let shapes = exchange(workers, shape)?;
    if let Some(rank) = shapes.iter().position(|shape| *shape != shapes[0]) {
        let allowed = "tensors of the names and lengths of worker 0";
        let cause = CoreError::invalid("gradient", format!("of other tensors on worker {rank}"), allowed);
        return Err(Error::Workers { cause });
    }
    for values in gradient.values_mut() {
        P::Scalar::sum(workers, values).map_err(|cause| Error::Workers { cause })?;
    }
    agree(workers, policy.replace_pending(gradient).map_err(named))
}

/// The numbers of every worker, in the order of the ranks; or an error on every worker, if there is one on any.
pub(crate) fn exchange(workers: &dyn Workers, own: Result<Vec<f64>>) -> Result<Vec<Vec<f64>>> {
    if workers.count() == 1 {
        return own.map(|numbers| vec![numbers]);
    }
    let (mut numbers, error) = match own {
        Ok(numbers) => (numbers, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    // The last number says whether the worker failed.
    numbers.push(f64::from(u8::from(error.is_some())));
    let mut gathered = match workers.gather(numbers) {
        Ok(gathered) => gathered,
        Err(cause) => return Err(error.unwrap_or(Error::Workers { cause })),
    };
    let failed: Vec<bool> = gathered.iter_mut().map(|numbers| numbers.pop() != Some(0.0)).collect();
    let Some(rank) = failed.iter().position(|failed| *failed) else { return Ok(gathered) };
    let message = error.as_ref().map(ToString::to_string).unwrap_or_default();
    let messages = workers.gather(packed(&message));
    Err(match (error, messages) {
        (Some(error), _) => error,
        (None, Ok(messages)) => Error::OtherWorker { rank, message: unpacked(&messages[rank])? },
        (None, Err(cause)) => Error::Workers { cause },
    })
}

/// Returns the outcome of this worker, or an error if any worker has one.
pub(crate) fn agree<T>(workers: &dyn Workers, own: Result<T>) -> Result<T> {
    if workers.count() == 1 {
        return own;
    }
    let (value, status) = match own {
        Ok(value) => (Some(value), Ok(Vec::new())),
        Err(error) => (None, Err(error)),
    };
    exchange(workers, status)?;
    // A worker without a value failed, and `exchange` gave its error.
    value.ok_or(Error::Workers { cause: CoreError::Empty { what: "outcome of a worker".into() } })
}

/// Joins lists of numbers: each becomes the concatenation of the workers' lists, in the order of the ranks.
pub(crate) fn gather_lists(workers: &dyn Workers, own: Result<Vec<Vec<f64>>>) -> Result<Vec<Vec<f64>>> {
    if workers.count() == 1 {
        return own;
    }
    let message = |lists: Vec<Vec<f64>>| {
        let mut numbers = vec![lists.len() as f64];
        numbers.extend(lists.iter().map(|list| list.len() as f64));
        numbers.extend(lists.into_iter().flatten());
        numbers
    };
    let messages = exchange(workers, own.map(message))?;
    let mut joined: Option<Vec<Vec<f64>>> = None;
    for (rank, message) in messages.iter().enumerate() {
        let lists =
            lists_of(message).filter(|lists| joined.as_ref().is_none_or(|all| all.len() == lists.len()));
        let lists = lists.ok_or_else(|| {
            let what = format!("lists of worker {rank}");
            let allowed = "as many lists as worker 0 has, from the same program with the same settings";
            Error::Workers { cause: CoreError::invalid(what, "others", allowed) }
        })?;
        match &mut joined {
            None => joined = Some(lists),
            Some(joined) => joined.iter_mut().zip(lists).for_each(|(all, list)| all.extend(list)),
        }
    }
    Ok(joined.unwrap_or_default())
}

/// The lists in a message: their number, the length of each, and their numbers.
fn lists_of(message: &[f64]) -> Option<Vec<Vec<f64>>> {
    let (&count, rest) = message.split_first()?;
    let (lengths, mut numbers) = rest.split_at_checked(count as usize)?;
    let mut lists = Vec::with_capacity(lengths.len());
    for &length in lengths {
        let (list, others) = numbers.split_at_checked(length as usize)?;
        lists.push(list.to_vec());
        numbers = others;
    }
    numbers.is_empty().then_some(lists)
}

/// The text of every worker, in the order of the ranks.
pub(crate) fn gather_texts(workers: &dyn Workers, own: Result<String>) -> Result<Vec<String>> {
    if workers.count() == 1 {
        return own.map(|text| vec![text]);
    }
    exchange(workers, own.map(|text| packed(&text)))?.iter().map(|numbers| unpacked(numbers)).collect()
}

/// The value of every worker, in the order of the ranks, exchanged as JSON; `what` names the values in an error.
pub(crate) fn gather_values<T: Serialize + DeserializeOwned>(
    workers: &dyn Workers,
    what: &str,
    own: &T,
) -> Result<Vec<T>> {
    let failed = |cause: serde_json::Error| Error::Workers { cause: CoreError::failed(what, cause) };
    let texts = gather_texts(workers, serde_json::to_string(own).map_err(failed))?;
    texts.iter().map(|text| serde_json::from_str(text).map_err(failed)).collect()
}

/// A text as numbers: its length in bytes, then six bytes in each number, which `f64` represents exactly.
fn packed(text: &str) -> Vec<f64> {
    let number = |bytes: &[u8]| bytes.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte)) as f64;
    [text.len() as f64].into_iter().chain(text.as_bytes().chunks(PACKED).map(number)).collect()
}

const PACKED: usize = 6;

fn unpacked(numbers: &[f64]) -> Result<String> {
    let mut left = numbers.first().map_or(0, |length| *length as usize);
    let mut bytes = Vec::with_capacity(left);
    for number in numbers.iter().skip(1) {
        let count = left.min(PACKED);
        bytes.extend_from_slice(&(*number as u64).to_be_bytes()[8 - count..]);
        left -= count;
    }
    let broken = |cause| Error::Workers { cause: CoreError::failed("text of another worker", cause) };
    String::from_utf8(bytes).map_err(broken)
}

impl<P, C, X> Run<'_, P, C, X>
where
    P: Policy<C, X>,
{
    /// Whether there are other workers.
    pub(crate) fn is_shared(&self) -> bool {
        self.workers.count() > 1
    }

    /// Replaces the pending gradient by its sum over all workers.
    pub(crate) fn sum_gradient(&mut self) -> Result<()> {
        let named = self.at(Stage::Gradient);
        match &self.sharing {
            Some(sharing) if self.is_shared() => (sharing.sum_gradient)(self.policy, self.workers, &named),
            _ => Ok(()),
        }
    }

    /// All samples of each group, from the workers that drew them.
    pub(crate) fn gather_samples(&self, groups: &[&ContextSamples<X>]) -> Result<Vec<Vec<X>>> {
        let Some(sharing) = &self.sharing else { return Ok(Vec::new()) };
        let failed = |cause: serde_json::Error| Error::Workers {
            cause: CoreError::failed("samples for other workers, as JSON", cause),
        };
        let own: Vec<&[X]> = groups.iter().map(|group| group.samples.as_slice()).collect();
        let texts = gather_texts(self.workers, (sharing.encode)(&own).map_err(failed))?;
        let mut all: Vec<Vec<X>> = groups.iter().map(|group| Vec::with_capacity(group.len())).collect();
        let decode = |text: &String| (sharing.decode)(text).map_err(failed);
        for samples in agree(self.workers, texts.iter().map(decode).collect::<Result<Vec<_>>>())? {
            all.iter_mut().zip(samples).for_each(|(all, samples)| all.extend(samples));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::{lists_of, packed, unpacked};

    #[test]
    fn texts_survive_as_numbers() {
        for text in ["", "a", "sechs!", "sieben?", "weight NaN in « été »", "\u{10ffff}\0\0\0"] {
            assert_eq!(unpacked(&packed(text)).unwrap(), text);
        }
        assert!(unpacked(&[1.0, 255.0]).is_err());
    }

    #[test]
    fn messages_of_another_form_are_none() {
        assert_eq!(lists_of(&[2.0, 1.0, 0.0, 7.0]), Some(vec![vec![7.0], vec![]]));
        for message in [&[][..], &[1.0], &[1.0, 2.0, 7.0], &[1.0, 1.0, 7.0, 8.0]] {
            assert_eq!(lists_of(message), None, "{message:?}");
        }
    }
}
