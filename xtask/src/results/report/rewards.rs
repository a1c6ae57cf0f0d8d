//! The section on rewards: how far tuning got on the way to the optimum.

use super::html::{cells, escape, estimate, optional, section, table};
use crate::results::{numbers::plain, record::RunRecord};

/// The rewards before, at the optimum, tuned and by QRS; `None` for a run without rewards.
pub(super) fn rewards(record: &RunRecord) -> Option<String> {
    let spec = &record.spec;
    if spec.rewards.is_empty() {
        return None;
    }
    let mut rows = vec![cells(["reward", "β", "base", "at the optimum", "tuned", "QRS"])];
    let features = record.features();
    for reward in &spec.rewards {
        let Some(row) = features.iter().find(|row| row.name == reward.feature) else { continue };
        rows.push(vec![
            escape(&row.name),
            plain(reward.beta),
            optional(row.base),
            optional(row.fitted.map(|fitted| fitted.fitted)),
            optional(row.tuned),
            optional(row.qrs),
        ]);
    }
    let from_base = record.kl_from_base();
    rows.push(vec![
        "KL to the base".into(),
        String::new(),
        "0".into(),
        optional(from_base.target),
        optional(from_base.tuned),
        optional(from_base.qrs),
    ]);
    let log_z = record
        .target
        .as_ref()
        .map_or_else(String::new, |target| format!(" There, ln Z = {} nats.", estimate(&target.fit.log_z)));
    let introduction = format!(
        "The target is the base times exp(reward / β): the optimum of the mean reward less β times the KL to the base, the \
         objective of RLHF. Its numbers are estimates by importance weights from samples of the base.{log_z}"
    );
    Some(section("Rewards", &introduction, &table("distances", &rows)))
}
