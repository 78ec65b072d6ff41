//! Finds faults in the log of a dispatch.

use super::logged::{Kind, Place, Site};
use super::{Access, Fault, Finding, Logging};
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// Findings by kernel, fault, and the places of both sides.
#[derive(Default)]
pub struct Findings(BTreeMap<(String, Fault, u32, u32), Finding>);

impl Findings {
    /// In the order of kernels.
    pub fn list(&self) -> Vec<Finding> {
        self.0.values().cloned().collect()
    }
}

/// The findings of a dispatch.
struct Found<'a> {
    dispatch: &'a Logging,
    /// By fault and places.
    pairs: BTreeMap<(Fault, u32, u32), Pair>,
}

/// The finding at a pair of places.
struct Pair {
    first: [Touch; 2],
    /// The word where it was found last.
    last: Option<usize>,
    words: u64,
}

impl Found<'_> {
    /// Notes a pair, or a single access twice.
    fn add(&mut self, fault: Fault, a: &Touch, b: &Touch) {
        let (a, b) = if a.site <= b.site { (a, b) } else { (b, a) };
        let new = Pair { first: [*a, *b], last: None, words: 0 };
        let pair = self.pairs.entry((fault, a.site, b.site)).or_insert(new);
        // Words come one after the other; what is out of range has none.
        pair.words += u64::from(a.cell == usize::MAX || pair.last != Some(a.cell));
        pair.last = Some(a.cell);
    }

    fn hand_over(self, findings: &mut Findings) {
        let Logging { label, kernel, sites, .. } = self.dispatch;
        for ((fault, a, b), Pair { first: [first, second], words, .. }) in self.pairs {
            let site = |touch: &Touch| &sites.sites[touch.site as usize];
            let variable = &sites.variables[site(&first).variable];
            let found = findings.0.entry((kernel.clone(), fault, a, b)).or_insert_with(|| Finding {
                fault,
                kernel: kernel.clone(),
                label: label.clone(),
                variable: variable.name.clone(),
                binding: match variable.place {
                    Place::Binding(binding) => Some(binding),
                    Place::Workgroup(_) => None,
                },
                word: first.word,
                accesses: match fault {
                    Fault::Race | Fault::EqualStores | Fault::Unordered => {
                        vec![first.access(site(&first)), second.access(site(&second))]
                    }
                    Fault::OutOfRange | Fault::NeverStored => vec![first.access(site(&first))],
                },
                words: 0,
            });
            found.words += words;
        }
    }
}

/// An access to a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Touch {
    /// The word among all words of the dispatch.
    cell: usize,
    group: u32,
    barriers: u32,
    lane: u32,
    kind: Kind,
    site: u32,
    /// The word in its variable.
    word: u32,
    value: u32,
}

impl Touch {
    fn of(&[word, group_site, barriers_lane, value]: &[u32; 4], sites: &[Site]) -> Option<Touch> {
        let site = group_site & 0xfff;
        Some(Touch {
            cell: 0,
            group: group_site >> 12,
            barriers: barriers_lane >> 10,
            lane: barriers_lane & 0x3ff,
            kind: sites.get(site as usize)?.kind,
            site,
            word,
            value,
        })
    }

    fn access(&self, site: &Site) -> Access {
        let Touch { kind, group: workgroup, lane, barriers, .. } = *self;
        Access { kind, line: site.line, text: site.text.clone(), workgroup, lane, barriers }
    }

    /// The fault if nothing orders the two.
    fn conflict(&self, other: &Touch, sites: &[Site]) -> Option<Fault> {
        use Kind::{Atomic, AtomicWrite, Read, Write};
        let stores_value = |touch: &Touch| sites[touch.site as usize].has_value;
        let equal = stores_value(self) && stores_value(other) && self.value == other.value;
        match (self.kind, other.kind) {
            (Write, Write) if equal => Some(Fault::EqualStores),
            (Write, _) | (_, Write) => Some(Fault::Race),
            (Read, Atomic | AtomicWrite) | (Atomic | AtomicWrite, Read) => Some(Fault::Race),
            (AtomicWrite, AtomicWrite) if equal => None,
            (AtomicWrite, _) | (_, AtomicWrite) => Some(Fault::Unordered),
            (Read, Read) | (Atomic, Atomic) => None,
        }
    }
}

/// The range of a variable among the words of the dispatch.
struct Area {
    begin: usize,
    /// Its words, in each workgroup if it is of workgroups.
    words: u64,
    of_workgroup: bool,
}

/// An area for each variable, and how many words there are in all. Bindings of one buffer share one.
fn areas(dispatch: &Logging) -> (Vec<Area>, usize) {
    let mut size = 0;
    let mut place_of = BTreeMap::new();
    let mut take = |words: u64| {
        size += words as usize;
        size - words as usize
    };
    let area = |variable: &super::Variable| match variable.place {
        Place::Workgroup(words) => {
            let words = u64::from(words);
            Area { begin: take(words * dispatch.groups), words, of_workgroup: true }
        }
        Place::Binding(binding) => {
            let (first, words) = dispatch.bindings.get(binding as usize).copied().unwrap_or((binding, 0));
            Area { begin: *place_of.entry(first).or_insert_with(|| take(words)), words, of_workgroup: false }
        }
    };
    let areas = dispatch.sites.variables.iter().map(area).collect();
    (areas, size)
}

/// The invocations that access a word, and how.
#[derive(Clone, Copy, Default)]
struct Cell {
    /// 0: nobody yet; [`MANY`](Self::MANY): several; else 1 + the only one.
    who: u32,
    kinds: u8,
}

impl Cell {
    const MANY: u32 = u32::MAX;

    fn bit(kind: Kind) -> u8 {
        1 << kind as u8
    }

    fn visit(&mut self, touch: &Touch) {
        let own = (touch.group << 10 | touch.lane) + 1;
        self.who = if self.who == 0 || self.who == own { own } else { Cell::MANY };
        self.kinds |= Cell::bit(touch.kind);
    }

    /// Whether two invocations may access it in ways that need an order.
    fn contested(&self) -> bool {
        let only = [Kind::Read, Kind::Atomic].into_iter().any(|kind| self.kinds == Cell::bit(kind));
        self.who == Cell::MANY && !only
    }
}

/// The accesses that a record stands for, word by word; a single one that is out of range has no cell.
fn expand(dispatch: &Logging, areas: &[Area], record: &[u32; 4]) -> Result<impl Iterator<Item = Touch>> {
    let strange = || Error::Device(format!("{}: a record in the log of accesses makes no sense", dispatch.label));
    let touch = Touch::of(record, &dispatch.sites.sites).ok_or_else(strange)?;
    let site = &dispatch.sites.sites[touch.site as usize];
    let area = &areas[site.variable];
    if area.of_workgroup && u64::from(touch.group) >= dispatch.groups {
        return Err(strange());
    }
    let begin = area.begin + if area.of_workgroup { touch.group as usize * area.words as usize } else { 0 };
    let inside = u64::from(touch.word) + u64::from(site.words) <= area.words;
    let words = if inside { site.words } else { 1 };
    Ok((0..words).map(move |k| {
        let word = touch.word + k;
        let cell = if inside { begin + word as usize } else { usize::MAX };
        Touch { cell, word, ..touch }
    }))
}

/// Analyses the records of a dispatch.
///
/// # Errors
/// Records that cannot be of this dispatch.
pub fn analyse(dispatch: &Logging, records: &[[u32; 4]], findings: &mut Findings) -> Result<()> {
    let mut found = Found { dispatch, pairs: BTreeMap::new() };
    let (areas, size) = areas(dispatch);
    let mut cells = vec![Cell::default(); size];
    for record in records {
        for touch in expand(dispatch, &areas, record)? {
            let Some(cell) = cells.get_mut(touch.cell) else {
                found.add(Fault::OutOfRange, &touch, &touch);
                continue;
            };
            let of_workgroup = areas[dispatch.sites.sites[touch.site as usize].variable].of_workgroup;
            // The records of a workgroup are in the order in which it ran.
            if of_workgroup && cell.kinds == 0 && touch.kind == Kind::Read {
                found.add(Fault::NeverStored, &touch, &touch);
            }
            cell.visit(&touch);
        }
    }
    let mut touches = Vec::new();
    for record in records {
        let contested = |touch: &Touch| cells.get(touch.cell).is_some_and(Cell::contested);
        touches.extend(expand(dispatch, &areas, record)?.filter(contested));
    }
    touches.sort_unstable();
    for word in touches.chunk_by(|a, b| a.cell == b.cell) {
        // Nothing orders workgroups; within one, barriers separate accesses before and after them.
        pairs(word, |touch| touch.group, &mut found);
        for together in word.chunk_by(|a, b| (a.group, a.barriers) == (b.group, b.barriers)) {
            pairs(together, |touch| touch.lane, &mut found);
        }
    }
    found.hand_over(findings);
    Ok(())
}

/// Finds conflicting accesses of different parties: if there are any, at least one pair. Two stores of different parties
/// represent all stores to a word, and each is compared with all other accesses; atomic stores and atomic operations
/// likewise.
fn pairs(touches: &[Touch], party: impl Fn(&Touch) -> u32, found: &mut Found) {
    for kind in [Kind::Write, Kind::AtomicWrite, Kind::Atomic] {
        let of_kind = || touches.iter().filter(|touch| touch.kind == kind);
        let Some(first) = of_kind().next() else { continue };
        let second = of_kind().find(|touch| party(touch) != party(first));
        for anchor in std::iter::once(first).chain(second) {
            for other in touches.iter().filter(|other| party(other) != party(anchor)) {
                if let Some(fault) = anchor.conflict(other, &found.dispatch.sites.sites) {
                    found.add(fault, anchor, other);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::logged::{Sites, Variable};
    use super::*;
    use std::sync::Arc;

    /// A variable of 4 words, and sites that read, write and change it atomically.
    fn dispatch(place: Place) -> Logging {
        let site = |kind| Site {
            variable: 0,
            words: 1,
            kind,
            has_value: matches!(kind, Kind::Write | Kind::AtomicWrite),
            line: 1 + kind as u32,
            text: String::new(),
        };
        let sites = Sites {
            variables: vec![Variable { name: "x".into(), place }],
            sites: [Kind::Read, Kind::Write, Kind::AtomicWrite, Kind::Atomic].map(site).to_vec(),
        };
        let bindings = vec![(0, 0), (1, 4)];
        Logging { label: "l".into(), kernel: "k".into(), sites: Arc::new(sites), groups: 3, bindings }
    }

    fn record(word: u32, group: u32, lane: u32, barriers: u32, kind: Kind, value: u32) -> [u32; 4] {
        [word, group << 12 | kind as u32, barriers << 10 | lane, value]
    }

    fn faults(dispatch: &Logging, records: &[[u32; 4]]) -> Vec<Fault> {
        let mut findings = Findings::default();
        analyse(dispatch, records, &mut findings).unwrap();
        findings.list().iter().map(|found| found.fault).collect()
    }

    #[test]
    fn who_races_with_whom() {
        use Kind::{Atomic, AtomicWrite, Read, Write};
        let (storage, workgroup) = (dispatch(Place::Binding(1)), dispatch(Place::Workgroup(4)));
        let of = |dispatch: &Logging, a: (u32, u32, u32, Kind), b: (u32, u32, u32, Kind)| {
            // Stored before, so that a load of workgroup memory is no fault by itself.
            let (value, end) = (u32::from(b.3 != Read), 7);
            let before: Vec<_> = (0..3).map(|group| record(2, group, end, 0, Write, 0)).collect();
            let later = |(group, lane, barriers, kind), value| record(2, group, lane, barriers + 1, kind, value);
            let mut records = [later(a, 0), later(b, value)].to_vec();
            if std::ptr::eq(dispatch, &workgroup) {
                records.splice(0..0, before);
            }
            faults(dispatch, &records)
        };
        for dispatch in [&storage, &workgroup] {
            assert_eq!(of(dispatch, (0, 0, 0, Write), (0, 1, 0, Read)), [Fault::Race]);
            assert_eq!(of(dispatch, (0, 1, 0, Read), (0, 0, 0, Write)), [Fault::Race]);
            assert_eq!(of(dispatch, (0, 0, 0, Write), (0, 1, 0, Write)), [Fault::Race]);
            assert_eq!(of(dispatch, (0, 0, 0, Write), (0, 1, 0, Atomic)), [Fault::Race]);
            assert_eq!(of(dispatch, (0, 0, 0, Atomic), (0, 1, 0, Read)), [Fault::Race]);
            assert_eq!(of(dispatch, (0, 0, 0, AtomicWrite), (0, 1, 0, Read)), [Fault::Race]);
            assert_eq!(of(dispatch, (0, 0, 0, AtomicWrite), (0, 1, 0, Atomic)), [Fault::Unordered]);
            assert_eq!(of(dispatch, (0, 0, 0, AtomicWrite), (0, 1, 0, AtomicWrite)), [Fault::Unordered]);
            for (a, b) in [
                ((0, 0, 0, Write), (0, 1, 1, Read)),
                ((0, 0, 0, AtomicWrite), (0, 1, 1, Atomic)),
                ((0, 0, 0, Write), (0, 0, 0, Read)),
                ((0, 0, 0, Read), (0, 1, 0, Read)),
                ((0, 0, 0, Atomic), (0, 1, 0, Atomic)),
            ] {
                assert_eq!(of(dispatch, a, b), [], "{a:?} {b:?}");
            }
        }
        // Barriers order nothing across workgroups, whose own memory nobody else reaches.
        assert_eq!(of(&storage, (0, 0, 0, Write), (1, 0, 5, Read)), [Fault::Race]);
        assert_eq!(of(&workgroup, (0, 0, 0, Write), (1, 0, 5, Read)), []);
    }

    #[test]
    fn other_faults() {
        let (storage, workgroup) = (dispatch(Place::Binding(1)), dispatch(Place::Workgroup(4)));
        let stores = [record(1, 0, 0, 0, Kind::Write, 5), record(1, 0, 1, 0, Kind::Write, 5)];
        assert_eq!(faults(&storage, &stores), [Fault::EqualStores]);
        let stores = [record(1, 0, 0, 0, Kind::AtomicWrite, 5), record(1, 1, 1, 0, Kind::AtomicWrite, 5)];
        assert_eq!(faults(&storage, &stores), []);
        assert_eq!(faults(&storage, &[record(4, 0, 0, 0, Kind::Read, 0)]), [Fault::OutOfRange]);
        assert_eq!(faults(&workgroup, &[record(u32::MAX, 0, 0, 0, Kind::Write, 0)]), [Fault::OutOfRange]);
        assert_eq!(faults(&workgroup, &[record(3, 0, 0, 0, Kind::Read, 0)]), [Fault::NeverStored]);
        let stranger = record(0, 3, 0, 0, Kind::Read, 0);
        assert!(analyse(&workgroup, &[stranger], &mut Findings::default()).is_err(), "there are three workgroups");
        let nowhere = [0, 0xfff, 0, 0];
        assert!(analyse(&workgroup, &[nowhere], &mut Findings::default()).is_err(), "there are three sites");
    }

    /// A load of a vector touches the component that another lane stores.
    #[test]
    fn vectors_are_several_words() {
        let mut vector = dispatch(Place::Binding(1));
        let mut sites = Sites::clone(&vector.sites);
        sites.sites[0].words = 4;
        vector.sites = Arc::new(sites);
        let store = record(3, 0, 1, 0, Kind::Write, 0);
        assert_eq!(faults(&vector, &[record(0, 0, 0, 0, Kind::Read, 0), store]), [Fault::Race]);
        assert_eq!(faults(&vector, &[record(1, 0, 0, 0, Kind::Read, 0), store]), [Fault::OutOfRange]);
    }

    /// Two bindings of one buffer are one memory.
    #[test]
    fn bindings_of_one_buffer() {
        let mut both = dispatch(Place::Binding(1));
        let mut sites = Sites::clone(&both.sites);
        sites.variables.push(Variable { name: "y".into(), place: Place::Binding(2) });
        sites.sites[1].variable = 1;
        both.sites = Arc::new(sites);
        both.bindings.push((1, 4));
        let records = [record(0, 0, 0, 0, Kind::Read, 0), record(0, 0, 1, 0, Kind::Write, 0)];
        assert_eq!(faults(&both, &records), [Fault::Race]);
        both.bindings[2] = (2, 4);
        assert_eq!(faults(&both, &records), []);
    }

    /// Whatever is logged: a race is found exactly where two of the records, held one against the other, are one.
    #[test]
    fn none_escapes() {
        let mut seed = 1u64;
        let mut below = |n: u32| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as u32 % n
        };
        let mut with = 0;
        for round in 0..4000 {
            let place = if round % 2 == 0 { Place::Binding(1) } else { Place::Workgroup(4) };
            let dispatch = dispatch(place);
            let kinds = [Kind::Read, Kind::Write, Kind::AtomicWrite, Kind::Atomic];
            let records: Vec<[u32; 4]> = (0..2 + below(7))
                .map(|_| record(below(2), below(2), below(3), below(2), kinds[below(4) as usize], below(2)))
                .collect();
            let touches: Vec<Touch> =
                records.iter().map(|record| Touch::of(record, &dispatch.sites.sites).unwrap()).collect();
            let race = |a: &Touch, b: &Touch| {
                let together = match place {
                    Place::Binding(_) => a.group != b.group || (a.lane != b.lane && a.barriers == b.barriers),
                    Place::Workgroup(_) => a.group == b.group && a.lane != b.lane && a.barriers == b.barriers,
                };
                a.word == b.word && together && a.conflict(b, &dispatch.sites.sites).is_some()
            };
            let expected = touches.iter().any(|a| touches.iter().any(|b| race(a, b)));
            let found = faults(&dispatch, &records);
            let found = found.iter().any(|fault| *fault != Fault::NeverStored);
            assert_eq!(found, expected, "{touches:?}");
            with += u32::from(expected);
        }
        assert!((1000..3000).contains(&with), "{with} of 4000 with a race");
    }
}
