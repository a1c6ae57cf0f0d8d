//! Rules on the folders inside of a crate: the order in which they may import each other.

use super::{
    Finding, ModuleGraph,
    graph::{Component, components},
};

/// The order of the folders and files at the top of a crate's `src`, lowest first: each may import only from those before it.
///
/// A crate without a line here may have any order, but no ring.
const ORDER: [(&str, &[&str]); 3] = [
    (
        "disco-lm",
        &[
            "error",
            "architecture",
            "device",
            "kernels",
            "attention",
            "text",
            "grammar",
            "layers",
            "weights",
            "lora",
            "decoding",
            "model",
            "classifier",
            "generation",
            "hub",
            "training",
            "choices",
        ],
    ),
    (
        "disco-tuner",
        &[
            "error",
            "workers",
            "problem",
            "storage",
            "optimizer",
            "config",
            "policy",
            "gradient",
            "metrics",
            "observer",
            "checkpoint",
            "run",
        ],
    ),
    (
        "xtask",
        &[
            "error",
            "hex",
            "terminal",
            "process",
            "embedded",
            "contexts",
            "http",
            "spec",
            "prerequisites",
            "launch",
            "features",
            "samples",
            "scorers",
            "remote",
            "results",
            "models",
            "steering",
            "stages",
            "serving",
            "commands",
            "repository",
            "cli",
            "bin",
        ],
    ),
];

/// This file, for messages.
const TABLE: &str = "xtask/src/repository/tidy/order.rs";

/// The order of a crate's folders, if it has one.
fn order_of(name: &str) -> Option<&'static [&'static str]> {
    ORDER.iter().find(|(crate_name, _)| *crate_name == name).map(|(_, order)| *order)
}

/// The findings on the imports between the folders of a crate, with the order that the table has for it.
pub fn check_modules(graph: &ModuleGraph) -> Vec<Finding> {
    match order_of(&graph.name) {
        Some(order) => check_order(graph, order),
        None => [graph.unreadable.clone(), rings(graph)].concat(),
    }
}

/// The findings on the imports between the folders of a crate, which may import each other in this `order`, lowest first.
pub fn check_order(graph: &ModuleGraph, order: &[&str]) -> Vec<Finding> {
    let mut findings = graph.unreadable.clone();
    let place = |node: &str| order.iter().position(|known| *known == node);
    for node in graph.nodes.iter().filter(|node| place(node).is_none()) {
        findings.push(Finding {
            path: graph.source.join(node),
            line: None,
            message: format!(
                "`{node}` is not in the order of the folders of {}: add it to the table in {TABLE}",
                graph.name
            ),
        });
    }
    for import in &graph.imports {
        let (Some(from), Some(to)) = (place(&import.from), place(&import.to)) else { continue };
        if from < to {
            findings.push(Finding {
                path: import.file.clone(),
                line: Some(import.line),
                message: format!(
                    "`{}` may not import from `{}`, which comes later in the order of folders (`{}`): move the code to where it is allowed, \
                     pass the value in, or change the order in {TABLE}",
                    import.from,
                    import.to,
                    import.paths.join(", ")
                ),
            });
        }
    }
    findings
}

/// A finding for each import that is part of a ring.
fn rings(graph: &ModuleGraph) -> Vec<Finding> {
    let rings: Vec<Component<'_>> =
        components(graph).into_iter().filter(|component| component.len() > 1).collect();
    let of = |node: &str| rings.iter().position(|ring| ring.contains(&node));
    let in_ring = graph.imports.iter().filter_map(|import| {
        let ring = of(&import.from).filter(|ring| of(&import.to) == Some(*ring))?;
        Some(Finding {
            path: import.file.clone(),
            line: Some(import.line),
            message: format!(
                "`{}` imports from `{}` (`{}`) in a ring of {}: cut one of its imports",
                import.from,
                import.to,
                import.paths.join(", "),
                rings[ring].join(", ")
            ),
        })
    });
    in_ring.collect()
}
