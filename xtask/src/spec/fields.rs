//! The names of the fields that a table of a run file may have, where they depend on its kind too.

use toml::de::DeTable;

/// The fields that a table may have.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    pub(super) known: Vec<&'static str>,
    /// The table's kind, where the fields depend on it, and the fields that tables of other kinds have.
    pub(super) kind: Option<(&'static str, Vec<Kind>)>,
}

/// A kind of a table, and the fields that only some kinds have.
pub(super) type Kind = (&'static str, &'static [&'static str]);

impl Fields {
    /// These fields.
    pub(super) fn of(known: &[&'static str]) -> Self {
        Self { known: known.to_vec(), kind: None }
    }

    /// The fields `common` and those of the kind that the table's field `kind` names. If that names none, every kind's fields are known.
    pub(super) fn by_kind(
        common: &[&'static str],
        kinds: &[Kind],
        default: Option<&'static str>,
        table: &DeTable<'_>,
    ) -> Self {
        let has = |field: &str, own: &[&str]| own.contains(&field);
        let is_known = |field: &str| has(field, common) || kinds.iter().any(|(_, own)| has(field, own));
        let name = match table.get("kind") {
            Some(given) => given.get_ref().as_str(),
            // An unknown field may be the kind.
            None => default.filter(|_| table.keys().all(|key| is_known(key.get_ref()))),
        };
        let kind = kinds.iter().find(|(kind, _)| Some(*kind) == name);
        let mut known = common.to_vec();
        match kind {
            Some((_, own)) => known.extend(*own),
            None => {
                for field in kinds.iter().flat_map(|(_, own)| *own) {
                    if !known.contains(field) {
                        known.push(field);
                    }
                }
            }
        }
        Self { known, kind: kind.map(|(name, _)| (*name, kinds.to_vec())) }
    }
}
