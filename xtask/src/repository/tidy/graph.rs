//! The graph of imports in topological order, and its rings.

use std::collections::{BTreeMap, BTreeSet};

use super::ModuleGraph;

/// Nodes that import each other, directly or not; a single node where there is no ring. Sorted.
pub(super) type Component<'a> = Vec<&'a str>;

/// All components of the graph, each behind the ones it imports from; otherwise in alphabetical order.
pub(super) fn components(graph: &ModuleGraph) -> Vec<Component<'_>> {
    let edges = graph.edges();
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        edges.keys().map(|node| (*node, reachable(&edges, node))).collect();
    let mut left: Vec<Component<'_>> = Vec::new();
    for node in edges.keys() {
        let ring = |other: &&&str| reach[*node].contains(**other) && reach[**other].contains(*node);
        let component: Component<'_> =
            edges.keys().filter(|other| *other == node || ring(other)).copied().collect();
        if component[0] == *node {
            left.push(component);
        }
    }
    let mut sorted: Vec<Component<'_>> = Vec::new();
    while !left.is_empty() {
        let is_done = |node: &str| sorted.iter().any(|component: &Component<'_>| component.contains(&node));
        let is_ready = |component: &Component<'_>| {
            component.iter().all(|node| edges[node].iter().all(|to| component.contains(to) || is_done(to)))
        };
        // Without its rings a graph always has a node that imports none of those that are left.
        let next = left.iter().position(is_ready).unwrap_or(0);
        sorted.push(left.remove(next));
    }
    sorted
}

/// The nodes that `from` imports, directly or not.
fn reachable<'a>(edges: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&str> = edges.get(from).into_iter().flatten().copied().collect();
    while let Some(node) = next.pop() {
        if found.insert(node) {
            next.extend(edges.get(node).into_iter().flatten());
        }
    }
    found
}

/// The graph as text: a line per node with the nodes that it imports, in topological order, with its rings marked.
pub fn graph_text(graph: &ModuleGraph) -> String {
    let edges = graph.edges();
    let width = graph.nodes.iter().map(|node| node.chars().count()).max().unwrap_or(0);
    let mut text = format!("{}\n", graph.name);
    let mut rings = 0;
    for component in components(graph) {
        let is_ring = component.len() > 1;
        rings += usize::from(is_ring);
        for node in &component {
            let imports: Vec<&str> = edges[node].iter().copied().collect();
            let mut line = format!("    {node:<width$}");
            if !imports.is_empty() {
                line += &format!(" <- imports: {}", imports.join(", "));
            }
            if is_ring {
                line += &format!("    (ring {rings})");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    if rings > 0 {
        text.push_str(&format!("    rings: {rings}\n"));
    }
    text
}
