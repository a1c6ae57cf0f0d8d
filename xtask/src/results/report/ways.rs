//! The ways to sample: how many proposals each accepts, and how far from the target its samples are.

use disco_core::Estimate;

use super::html::{NOTHING, cells, escape, estimate, optional, section, shown, table};
use crate::results::{
    numbers::{rate, shown_share},
    record::RunRecord,
};

/// The ways to sample side by side, with exact rejection from the base, which tuning has to beat; `None` without a target.
pub(super) fn ways(record: &RunRecord) -> Option<String> {
    let target = record.target.as_ref()?;
    let (distances, from_base) = (record.distances(), record.kl_from_base());
    let mut head = cells(["way to sample", "accepted"]);
    let name = |formula: &str, name: &str| {
        format!(r#"{} <span class="formula">{}</span>"#, escape(name), escape(formula))
    };
    head.extend(distances.iter().map(|row| name(row.formula, row.name)));
    head.push("KL to the base".into());
    let mut rows = vec![head];
    let mut way = |class: &str, label: &str, accepted: String, found: Vec<String>, kl: String| {
        let mut cells = vec![format!(r#"<span class="{class}">{label}</span>"#), accepted];
        cells.extend(found);
        cells.push(kl);
        rows.push(cells);
    };
    let column = |of: &dyn Fn(usize) -> Option<Estimate>| -> Vec<String> {
        (0..distances.len()).map(|index| optional(of(index))).collect()
    };
    let all = || "all".to_owned();
    if record.base.is_some() {
        way("base", "the base as it is", all(), column(&|index| distances[index].base), "0".into());
    }
    let exactly = |text: &str| vec![text.to_owned(); distances.len()];
    match &target.exact_rejection {
        Some(accepted) => way(
            "target",
            "exact rejection from the base",
            shown(&shown_share(accepted)),
            exactly("0"),
            optional(from_base.target),
        ),
        None => way(
            "target",
            "exact rejection from the base",
            "no known bound".into(),
            exactly(NOTHING),
            NOTHING.into(),
        ),
    }
    if record.policy.is_some() {
        let kl = optional(from_base.tuned);
        let label = if record.is_tuned() { "the tuned policy as it is" } else { "the base again, as it is" };
        way("tuned", label, all(), column(&|index| distances[index].tuned), kl);
    }
    if let Some(qrs) = &record.qrs {
        let accepted = shown(&shown_share(&qrs.acceptance_rate));
        let kl = optional(from_base.qrs);
        let label = if record.is_tuned() { "QRS from the tuned policy" } else { "QRS from the base" };
        way("qrs", label, accepted, column(&|index| distances[index].qrs), kl);
    }
    let masking = record.base.as_ref().and_then(|base| base.masking).map_or_else(String::new, |masking| {
        format!(
            " The model gives the texts of the grammar with probability {}; masking alone, without weights, is {} nats away from the \
             model's own distribution among them.",
            escape(&rate(&masking.probability)),
            estimate(&masking.kl)
        )
    });
    let introduction = format!(
        "The target is the distribution nearest to the base that has the means that were asked for; it is {} nats away from it (KL). \
         Each row is a way to sample: the share of proposals that it accepts, and the divergences from its samples to the target. KL in \
         nats, total variation and Jensen-Shannon as they are.{masking}",
        estimate(&target.fit.kl)
    );
    Some(section("How far from the target, at which price", &introduction, &table("distances", &rows)))
}
