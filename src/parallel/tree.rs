//! One fixed order of a sum over shards.
//!
//! The sum of shards `0..n` is that of the lower half plus that of the upper half, down to single shards, which may be empty. Whoever
//! computes which part of it, the result has the same bits: a device or rank hands on the sums of the largest nodes of the tree
//! that lie in its share, and the nodes above are added by whoever has both halves.

use std::ops::Range;

/// A node of the tree, with the sum of its shards; `None` if all of them are empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Node<T> {
    /// The shards.
    pub shards: Range<usize>,
    /// Their sum.
    pub sum: Option<T>,
}

/// The two halves of a node with more than one shard.
fn halves(node: &Range<usize>) -> [Range<usize>; 2] {
    let middle = node.start + node.len() / 2;
    [node.start..middle, middle..node.end]
}

/// The largest nodes of the tree over `shards` shards that lie in `share`, in order.
pub fn cover(shards: usize, share: &Range<usize>) -> Vec<Range<usize>> {
    fn visit(node: Range<usize>, share: &Range<usize>, found: &mut Vec<Range<usize>>) {
        if node.start >= share.start && node.end <= share.end {
            found.push(node);
        } else if node.len() > 1 && node.start < share.end && share.start < node.end {
            halves(&node).into_iter().for_each(|half| visit(half, share, found));
        }
    }
    let mut found = Vec::new();
    if !share.is_empty() {
        visit(0..shards, share, &mut found);
    }
    found
}

/// The sum of `node` from `known` nodes that cover it; `add` adds the upper half to the lower.
///
/// # Panics
/// If they do not cover it.
pub fn sum<T>(node: Range<usize>, known: &mut Vec<Node<T>>, add: &impl Fn(T, T) -> T) -> Option<T> {
    if let Some(k) = known.iter().position(|known| known.shards == node) {
        return known.swap_remove(k).sum;
    }
    assert!(node.len() > 1, "shard {} is not known", node.start);
    let [lower, upper] = halves(&node).map(|half| sum(half, known, add));
    combined(lower, upper, add)
}

/// The sum of `node`, whose shards `leaf` computes in ascending order. Holds one sum for each level of the tree.
///
/// # Errors
/// Those of `leaf`.
pub fn compute<T, E>(
    node: Range<usize>,
    leaf: &mut impl FnMut(usize) -> Result<Option<T>, E>,
    add: &impl Fn(T, T) -> T,
) -> Result<Option<T>, E> {
    if node.len() == 1 {
        return leaf(node.start);
    }
    let [lower, upper] = halves(&node);
    let lower = compute(lower, leaf, add)?;
    let upper = compute(upper, leaf, add)?;
    Ok(combined(lower, upper, add))
}

fn combined<T>(lower: Option<T>, upper: Option<T>, add: &impl Fn(T, T) -> T) -> Option<T> {
    match (lower, upper) {
        (Some(lower), Some(upper)) => Some(add(lower, upper)),
        (lower, upper) => lower.or(upper),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sums that show in which order they were made.
    fn add(a: String, b: String) -> String {
        format!("({a}+{b})")
    }

    fn leaf(k: usize) -> Node<String> {
        // Every seventh shard is empty.
        Node { shards: k..k + 1, sum: (k % 7 != 6).then(|| k.to_string()) }
    }

    proptest! {
        #[test]
        fn the_order_does_not_depend_on_the_shares(shards in 1usize..40, cuts in prop::collection::vec(0usize..40, 0..6)) {
            let whole = sum(0..shards, &mut (0..shards).map(leaf).collect(), &add);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(shards)).chain([0, shards]).collect();
            cuts.sort_unstable();
            let mut nodes = Vec::new();
            for share in cuts.windows(2).map(|cut| cut[0]..cut[1]) {
                let mut computed = Vec::new();
                for shards in cover(shards, &share) {
                    let mut one = |k: usize| {
                        computed.push(k);
                        Ok::<_, ()>(leaf(k).sum)
                    };
                    nodes.push(Node { sum: compute(shards.clone(), &mut one, &add).unwrap(), shards });
                }
                prop_assert!(computed.into_iter().eq(share));
            }
            prop_assert_eq!(sum(0..shards, &mut nodes, &add), whole);
            prop_assert!(nodes.is_empty());
        }
    }

    #[test]
    fn halves_are_added_first() {
        let whole = sum(0..5, &mut (0..5).map(leaf).collect(), &add).unwrap();
        assert_eq!(whole, "((0+1)+(2+(3+4)))");
    }
}
