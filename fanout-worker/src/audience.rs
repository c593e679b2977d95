//! Whom an envelope concerns, and who therefore gets which batch. Pure, and blind to bodies.

use std::collections::{BTreeMap, BTreeSet};

use shared::bus::{Notice, Topic};
use shared::event::Envelope;
use shared::id::BootId;

/// The topics of a batch, each once.
pub(crate) fn topics(envelopes: &[Envelope]) -> Vec<Topic> {
    envelopes.iter().flat_map(topics_of).collect::<BTreeSet<_>>().into_iter().collect()
}

fn topics_of(envelope: &Envelope) -> impl Iterator<Item = Topic> {
    let people = envelope.to.iter().copied().map(Topic::Person);
    envelope.room.map(Topic::Room).into_iter().chain(people)
}

/// The nodes that want each topic.
pub(crate) type Routes = BTreeMap<Topic, Vec<BootId>>;

/// One batch per node, each envelope at most once and in the order of the log: for the nodes that want it by `routes`, but
/// for those that have it because it was sent by `sent`.
pub(crate) fn by_node(
    envelopes: &[Envelope],
    routes: &Routes,
    sent: &Routes,
) -> BTreeMap<BootId, Vec<Notice>> {
    let mut batches: BTreeMap<BootId, Vec<Notice>> = BTreeMap::new();
    for envelope in envelopes {
        let have = nodes_of(envelope, sent);
        for node in nodes_of(envelope, routes).difference(&have) {
            batches.entry(*node).or_default().push(Notice::Envelope(envelope.clone()));
        }
    }
    batches
}

fn nodes_of(envelope: &Envelope, routes: &Routes) -> BTreeSet<BootId> {
    topics_of(envelope).filter_map(|topic| routes.get(&topic)).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;
    use shared::id::{AccountId, EntryId, Partition, RoomId};

    fn id<T>(name: impl Fn(uuid::Uuid) -> T, n: u128) -> T {
        name(uuid::Uuid::from_u128(n))
    }

    fn envelope(pseq: u32, room: Option<u128>, to: &[u128]) -> Envelope {
        let fields = Vec::new();
        let entry = EntryId { epoch: 1, pseq };
        let mut envelope = Envelope::from_fields(Partition::numbered(0), entry, fields);
        envelope.room = room.map(|n| id(RoomId, n));
        envelope.to = to.iter().map(|n| id(AccountId, *n)).collect();
        envelope
    }

    fn heard(batches: &BTreeMap<BootId, Vec<Notice>>, node: u128) -> Vec<u32> {
        let batch = batches.get(&id(BootId, node)).map(Vec::as_slice).unwrap_or_default();
        let pseq = |notice: &Notice| match notice {
            Notice::Envelope(envelope) => Some(envelope.entry.pseq),
            _ => None,
        };
        batch.iter().filter_map(pseq).collect()
    }

    #[test]
    fn every_node_gets_what_it_wants_once_and_in_order() {
        let envelopes = [
            envelope(1, Some(10), &[]),
            envelope(2, Some(11), &[20, 21]),
            envelope(3, None, &[]),
            envelope(4, Some(10), &[20]),
        ];
        let topics = topics(&envelopes);
        assert_eq!(topics.len(), 4);
        let nodes = |topic: Topic| match topic {
            Topic::Room(room) if room == id(RoomId, 10) => vec![id(BootId, 1), id(BootId, 2)],
            Topic::Person(person) if person == id(AccountId, 20) => vec![id(BootId, 2)],
            Topic::Person(_) => vec![id(BootId, 2), id(BootId, 3)],
            Topic::Room(_) => vec![],
        };
        let routes: Routes = topics.iter().map(|topic| (*topic, nodes(*topic))).collect();
        let batches = by_node(&envelopes, &routes, &Routes::new());
        assert_eq!(heard(&batches, 1), [1, 4]);
        assert_eq!(heard(&batches, 2), [1, 2, 4]);
        assert_eq!(heard(&batches, 3), [2]);
        assert_eq!(batches.len(), 3, "nobody gets an empty batch");
    }

    proptest! {
        /// Rooms and people are few, so that they meet.
        #[test]
        fn who_wants_a_topic_gets_all_of_it_once_whatever_was_believed_before(
            entries in vec((prop::option::of(0..4_u128), vec(0..5_u128, 0..4)), 0..12),
            wanted in vec(btree_set(0..4_u128, 0..4), 20),
            believed in vec(prop::option::of(btree_set(0..4_u128, 0..4)), 20),
        ) {
            let envelopes: Vec<Envelope> =
                (1..).zip(&entries).map(|(pseq, (room, to))| envelope(pseq, *room, to)).collect();
            let topics = topics(&envelopes);
            prop_assert_eq!(topics.iter().collect::<BTreeSet<_>>().len(), topics.len(), "each topic once");
            let nodes = |of: &BTreeSet<u128>| of.iter().map(|n| id(BootId, *n)).collect::<Vec<_>>();
            let routes: Routes = topics.iter().copied().zip(wanted.iter().map(nodes)).collect();
            let believed: Routes =
                topics.iter().zip(&believed).filter_map(|(topic, of)| Some((*topic, nodes(of.as_ref()?)))).collect();
            let ahead = by_node(&envelopes, &believed, &Routes::new());
            let rest = by_node(&envelopes, &routes, &believed);
            for node in 0..4 {
                let wants = |topic: Topic| routes.get(&topic).is_some_and(|nodes| nodes.contains(&id(BootId, node)));
                let due = envelopes.iter().filter(|envelope| topics_of(envelope).any(wants));
                let (first, second) = (heard(&ahead, node), heard(&rest, node));
                prop_assert!(first.is_sorted() && second.is_sorted(), "in the order of the log");
                prop_assert!(first.iter().all(|pseq| !second.contains(pseq)), "nothing twice");
                let got: BTreeSet<u32> = first.into_iter().chain(second.iter().copied()).collect();
                prop_assert!(due.clone().all(|envelope| got.contains(&envelope.entry.pseq)), "all that it wants");
                let due: BTreeSet<u32> = due.map(|envelope| envelope.entry.pseq).collect();
                prop_assert!(second.iter().all(|pseq| due.contains(pseq)), "nothing more once it is known");
            }
            prop_assert!(ahead.values().chain(rest.values()).all(|batch| !batch.is_empty()), "nobody gets an empty batch");
        }
    }
}
