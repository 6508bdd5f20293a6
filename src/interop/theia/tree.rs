//! The hierarchy of branches, as parents.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use super::super::node::Node;
use super::super::path::{Path, shown};
use super::super::reader::Reader;
use super::super::report::Outcome;

/// Where a request stands among the turns.
#[derive(Debug, PartialEq)]
pub(super) struct Placed {
    /// Its place in the list of requests.
    pub(super) request: usize,
    /// The number of the turn that it follows.
    pub(super) parent: Option<u64>,
}

/// The turns in the order of their numbers, parents before their children.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) placed: Vec<Placed>,
    /// The number of the last turn of the branch that is shown.
    pub(super) active: Option<u64>,
}

/// The places of requests by their ids; the first one where several have the same.
pub(super) fn by_id(requests: &[Node]) -> HashMap<String, usize> {
    let mut places = HashMap::with_capacity(requests.len());
    for (index, request) in requests.iter().enumerate() {
        if let Some(id) = request.get("id").and_then(Node::as_string) {
            places.entry(id).or_insert(index);
        }
    }
    places
}

/// Orders all requests: as the hierarchy says, and by their place in the list where it leaves a
/// choice. Those that it does not reach are kept as well: one whose id is another's becomes its
/// sibling, any other begins a conversation.
pub(super) fn order(
    requests: &[Node],
    hierarchy: Option<&Node>,
    model: &Path<'_>,
    reader: &mut Reader<'_>,
) -> Order {
    let place = model.field("hierarchy");
    let last = requests.len().checked_sub(1);
    let hierarchy = hierarchy.filter(|node| node.get("branches").is_some_and(Node::is_object));
    let Some(hierarchy) = hierarchy else {
        if last.is_some() {
            reader.note(Outcome::Assumed, &place, "there is none: one conversation, in order");
        }
        let parents = (0..requests.len()).map(|index| Some(index.checked_sub(1))).collect();
        return number(parents, last);
    };
    let places = by_id(requests);
    let parents = vec![None; requests.len()];
    let mut walk = Walk { places: &places, parents, reader, place: &place };
    let shown = walk.run(hierarchy);
    let Walk { parents, reader, .. } = walk;
    let active = shown.or(parents.iter().rposition(Option::is_some)).or(last);
    if active != shown {
        let detail = "it shows no request; the last one that it reaches is shown";
        reader.note(Outcome::Repaired, &place, detail);
    }
    number(place_others(parents, requests, &places, model, reader), active)
}

/// Gives those requests a parent that the hierarchy does not reach.
fn place_others(
    mut parents: Parents,
    requests: &[Node],
    places: &HashMap<String, usize>,
    model: &Path<'_>,
    reader: &mut Reader<'_>,
) -> Parents {
    let array = model.field("requests");
    for (index, request) in requests.iter().enumerate() {
        if parents[index].is_some() {
            continue;
        }
        let id = request.get("id").and_then(Node::as_string);
        let twin = id.and_then(|id| places.get(&id).copied()).filter(|twin| *twin != index);
        let detail = match twin {
            Some(_) => "another request has its id; it is kept as that one's sibling",
            None => "the hierarchy does not reach it; it is kept as the first of a conversation",
        };
        reader.note(Outcome::Repaired, &array.item(index), detail);
        parents[index] = Some(twin.and_then(|twin| parents[twin]).flatten());
    }
    parents
}

/// What each request follows: not known yet, nothing, or another request.
type Parents = Vec<Option<Option<usize>>>;

struct Walk<'a, 'r, 'o> {
    places: &'a HashMap<String, usize>,
    parents: Parents,
    reader: &'r mut Reader<'o>,
    place: &'a Path<'a>,
}

/// A branch that is yet to be followed.
struct Open {
    branch: String,
    /// What its items follow.
    parent: Option<usize>,
    /// Whether it is on the path that is shown.
    is_shown: bool,
}

impl Walk<'_, '_, '_> {
    /// Follows all branches from the root; returns the last request of the path that is shown.
    fn run(&mut self, hierarchy: &Node) -> Option<usize> {
        let branches: HashMap<&str, &Node> = match hierarchy.get("branches") {
            Some(Node::Object(all)) => all.iter().map(|(id, node)| (id.as_str(), node)).collect(),
            _ => HashMap::new(),
        };
        let mut visited = HashSet::new();
        let mut leaf = None;
        let root = text(hierarchy, "rootBranchId").unwrap_or_default();
        let mut open = vec![Open { branch: root, parent: None, is_shown: true }];
        while let Some(next) = open.pop() {
            let Some(branch) = branches.get(next.branch.as_str()) else {
                self.repaired(&format!("no branch has the id {:?}", shown(&next.branch)));
                continue;
            };
            if visited.insert(next.branch.clone()) {
                leaf = self.follow(branch, &next, &mut open).or(leaf);
            } else {
                self.repaired(&format!("two items lead to the branch {:?}", shown(&next.branch)));
            }
        }
        leaf
    }

    /// Places the requests of a branch; returns the one that is shown.
    fn follow(&mut self, branch: &Node, from: &Open, open: &mut Vec<Open>) -> Option<usize> {
        let items = branch.get("items").map(Node::items).unwrap_or_default();
        let active = self.active_item(branch, items.len());
        let mut shown = None;
        for (index, item) in items.iter().enumerate() {
            let at = self.place_request(&text(item, "requestId").unwrap_or_default(), from.parent);
            let is_shown = from.is_shown && active == Some(index);
            if is_shown {
                shown = at;
            }
            if let Some(branch) = text(item, "nextBranchId") {
                open.push(Open { branch, parent: at.or(from.parent), is_shown });
            }
        }
        shown
    }

    fn active_item(&mut self, branch: &Node, count: usize) -> Option<usize> {
        let last = count.checked_sub(1)?;
        let index = branch.get("activeBranchIndex").and_then(Node::as_u64);
        match index.and_then(|index| usize::try_from(index).ok()).filter(|index| *index <= last) {
            Some(index) => Some(index),
            None => {
                self.repaired("a branch names no item of its own as active; its last one is");
                Some(last)
            }
        }
    }

    /// Notes what a request follows; returns its place if there is such a request.
    fn place_request(&mut self, id: &str, parent: Option<usize>) -> Option<usize> {
        let Some(at) = self.places.get(id).copied() else {
            self.repaired(&format!("no request has the id {:?}", shown(id)));
            return None;
        };
        if self.parents[at].is_some() {
            self.repaired(&format!("the request {:?} is in two branches", shown(id)));
        } else {
            self.parents[at] = Some(parent);
        }
        Some(at)
    }

    fn repaired(&mut self, detail: &str) {
        self.reader.note(Outcome::Repaired, self.place, detail);
    }
}

fn text(node: &Node, name: &str) -> Option<String> {
    node.get(name).and_then(Node::as_string)
}

/// Numbers the requests: always the first in the list of those whose parent has its number.
fn number(parents: Parents, active: Option<usize>) -> Order {
    let mut children: HashMap<Option<usize>, Vec<usize>> = HashMap::new();
    for (index, parent) in parents.iter().enumerate() {
        children.entry(parent.flatten()).or_default().push(index);
    }
    let mut numbers = vec![0_u64; parents.len()];
    let mut placed = Vec::with_capacity(parents.len());
    let mut ready: BinaryHeap<Reverse<usize>> =
        children.remove(&None).unwrap_or_default().into_iter().map(Reverse).collect();
    while let Some(Reverse(request)) = ready.pop() {
        let parent = parents[request].flatten().map(|parent| numbers[parent]);
        placed.push(Placed { request, parent });
        numbers[request] = placed.len() as u64;
        ready.extend(children.remove(&Some(request)).unwrap_or_default().into_iter().map(Reverse));
    }
    Order { placed, active: active.map(|request| numbers[request]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_before_their_children_and_else_the_list_decides() {
        // 0 follows 3, which follows 1; 2 is a sibling of 1.
        let order = number(vec![Some(Some(3)), Some(None), Some(None), Some(Some(1))], Some(0));
        let placed: Vec<_> = order.placed.iter().map(|p| (p.request, p.parent)).collect();
        assert_eq!(placed, [(1, None), (2, None), (3, Some(1)), (0, Some(3))]);
        assert_eq!(order.active, Some(4));
    }
}
