//! Who sends to whom.

use super::super::config::NocError;
use super::super::random::Sequence;

/// Where the packets of a source go (Dally and Towles, section 3.2; the names are BookSim2's).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// To any terminal, itself among them, all alike.
    Uniform,
    /// To any but these.
    Background(Vec<u32>),
    /// To the terminal whose number has all bits turned.
    BitComplement,
    /// To the one whose bits are in the other order.
    BitReverse,
    /// To the one whose upper and lower half of bits have changed places.
    Transpose,
    /// To the one whose bits are turned by one.
    Shuffle,
    /// Half of a ring less one further, in each dimension.
    Tornado,
    /// One further, in each dimension.
    Neighbor,
    /// To the one that a random permutation of this seed gives.
    RandomPermutation {
        /// The permutation's seed.
        seed: u32,
    },
    /// To itself (two of three) or to the next one.
    Diagonal,
    /// To the place in either half of the terminals that the source has in its half.
    Asymmetric,
    /// Of 64 terminals: half of the packets to one of the nine around the source, the others anywhere.
    Taper64,
    /// To any terminal of the next group of a dragonfly.
    NextGroup,
    /// To any terminal of the source's row number: the worst for adaptive routing in a flattened butterfly.
    WorstColumn,
    /// To a few, each with a weight.
    Hotspot(Vec<(u32, u32)>),
    /// To the terminal that the list gives for each source.
    Permutation(Vec<u32>),
}

/// The digits of a terminal's number: `radix` of them values in each of `dimensions` places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digits {
    /// Terminals along a dimension.
    pub radix: usize,
    /// Dimensions.
    pub dimensions: usize,
}

impl Pattern {
    /// Patterns that need nothing else, by their names in configurations.
    pub(in crate::net::noc) const PLAIN: [(&'static str, Pattern); 12] = [
        ("uniform", Pattern::Uniform),
        ("bit-complement", Pattern::BitComplement),
        ("bit-reverse", Pattern::BitReverse),
        ("transpose", Pattern::Transpose),
        ("shuffle", Pattern::Shuffle),
        ("tornado", Pattern::Tornado),
        ("neighbor", Pattern::Neighbor),
        ("diagonal", Pattern::Diagonal),
        ("asymmetric", Pattern::Asymmetric),
        ("taper64", Pattern::Taper64),
        ("next-group", Pattern::NextGroup),
        ("worst-column", Pattern::WorstColumn),
    ];

    /// A pattern by BookSim2's name for it, with parameters in brackets: `hotspot({{0,5},{1,2}})`, `randperm(3)`.
    ///
    /// # Errors
    /// There is no such pattern.
    pub fn from_booksim(text: &str, permutation_seed: u32) -> Result<Pattern, NocError> {
        let (name, parameters) = match text.split_once('(') {
            Some((name, rest)) => (name, rest.trim_end_matches(')')),
            None => (text, ""),
        };
        let bad = || NocError(format!("traffic `{text}`: its parameters are lists of whole numbers in braces"));
        let lists = || -> Result<Vec<Vec<u32>>, NocError> {
            let inner = parameters.trim().strip_prefix('{').and_then(|p| p.strip_suffix('}')).unwrap_or(parameters);
            let list = |part: &str| -> Result<Vec<u32>, NocError> {
                let numbers = part.split(',').map(str::trim).filter(|n| !n.is_empty());
                numbers.map(|n| n.parse().map_err(|_| bad())).collect()
            };
            if !inner.contains('{') {
                return Ok(vec![list(inner)?]);
            }
            inner.split('}').filter_map(|p| p.split_once('{')).map(|(_, p)| list(p)).collect()
        };
        Ok(match name {
            "uniform" => Pattern::Uniform,
            "bitcomp" => Pattern::BitComplement,
            "bitrev" => Pattern::BitReverse,
            "transpose" => Pattern::Transpose,
            "shuffle" => Pattern::Shuffle,
            "tornado" => Pattern::Tornado,
            "neighbor" => Pattern::Neighbor,
            "diagonal" => Pattern::Diagonal,
            "asymmetric" => Pattern::Asymmetric,
            "taper64" => Pattern::Taper64,
            "bad_dragon" => Pattern::NextGroup,
            "badperm_yarc" => Pattern::WorstColumn,
            "randperm" if parameters.is_empty() => Pattern::RandomPermutation { seed: permutation_seed },
            "randperm" => Pattern::RandomPermutation { seed: parameters.trim().parse().map_err(|_| bad())? },
            "background" => Pattern::Background(lists()?.into_iter().next().unwrap_or_default()),
            "hotspot" => {
                let mut lists = lists()?.into_iter();
                let spots = lists.next().unwrap_or_default();
                let weights = lists.next().unwrap_or_default();
                let last = weights.last().copied().unwrap_or(1);
                let weight = |i: usize| weights.get(i).copied().unwrap_or(last);
                Pattern::Hotspot(spots.into_iter().enumerate().map(|(i, spot)| (spot, weight(i))).collect())
            }
            other => return Err(NocError(format!("no traffic `{other}`"))),
        })
    }
}

/// A pattern for a network of a size.
#[derive(Debug, Clone)]
pub(in crate::net::noc) enum Destinations {
    /// One for each source.
    Fixed(Vec<u32>),
    Uniform,
    Background(Vec<bool>),
    Diagonal,
    Asymmetric,
    Taper64,
    NextGroup {
        terminals: usize,
    },
    WorstColumn {
        row: usize,
    },
    Hotspot {
        spots: Vec<(u32, u32)>,
        most: usize,
    },
}

impl Destinations {
    /// # Errors
    /// The pattern does not fit the number of terminals.
    pub(in crate::net::noc) fn new(pattern: &Pattern, nodes: usize, digits: Digits) -> Result<Destinations, NocError> {
        let bits = || {
            let power = nodes.is_power_of_two();
            let bits = nodes.trailing_zeros();
            let text =
                format!("this traffic turns the bits of a number: it needs a power of two of terminals, not {nodes}");
            if power { Ok(bits) } else { Err(NocError(text)) }
        };
        let fixed = |to: &dyn Fn(usize) -> usize| Destinations::Fixed((0..nodes).map(|n| to(n) as u32).collect());
        let by_digit = |change: &dyn Fn(usize) -> usize| {
            let to = |node: usize| {
                let strides = (0..digits.dimensions as u32).map(|d| digits.radix.saturating_pow(d));
                strides.map(|stride| stride.saturating_mul(change(node / stride % digits.radix))).sum()
            };
            fixed(&to)
        };
        let destinations = match pattern {
            Pattern::Uniform => Destinations::Uniform,
            Pattern::Background(excluded) => {
                let mut barred = vec![false; nodes];
                for node in excluded {
                    *barred.get_mut(*node as usize).ok_or_else(|| outside(*node, nodes))? = true;
                }
                if barred.iter().all(|b| *b) {
                    return Err(NocError("background traffic leaves at least one terminal".to_owned()));
                }
                Destinations::Background(barred)
            }
            Pattern::BitComplement => {
                bits()?;
                fixed(&|node| !node & (nodes - 1))
            }
            Pattern::BitReverse => {
                let bits = bits()?;
                fixed(&|node| if bits == 0 { 0 } else { node.reverse_bits() >> (usize::BITS - bits) })
            }
            Pattern::Transpose => {
                let bits = bits()?;
                if bits % 2 == 1 {
                    return Err(NocError(format!(
                        "transpose traffic needs an even power of two of terminals, not {nodes}"
                    )));
                }
                let (half, low) = (bits / 2, (1 << (bits / 2)) - 1);
                fixed(&|node| node >> half & low | (node & low) << half)
            }
            Pattern::Shuffle => {
                bits()?;
                fixed(&|node| node << 1 & (nodes - 1) | usize::from(node << 1 & nodes != 0))
            }
            Pattern::Tornado => by_digit(&|at| (at + digits.radix.div_ceil(2) - 1) % digits.radix),
            Pattern::Neighbor => by_digit(&|at| (at + 1) % digits.radix),
            Pattern::RandomPermutation { seed } => Destinations::Fixed(permutation(nodes, *seed)),
            Pattern::Diagonal => Destinations::Diagonal,
            Pattern::Asymmetric if nodes >= 2 => Destinations::Asymmetric,
            Pattern::Asymmetric => return Err(NocError("asymmetric traffic needs two terminals".to_owned())),
            Pattern::Taper64 if nodes == 64 => Destinations::Taper64,
            Pattern::Taper64 => return Err(NocError(format!("this traffic is for 64 terminals, not {nodes}"))),
            Pattern::NextGroup => Destinations::NextGroup { terminals: 2 * digits.radix * digits.radix },
            Pattern::WorstColumn => Destinations::WorstColumn { row: digits.radix },
            Pattern::Hotspot(spots) => {
                let total: u64 = spots.iter().map(|(_, weight)| u64::from(*weight)).sum();
                if spots.is_empty() || spots.iter().any(|(_, weight)| *weight == 0) || total > 1 << 29 {
                    return Err(NocError("hotspot traffic has terminals, each with a weight of at least 1".to_owned()));
                }
                if let Some((spot, _)) = spots.iter().find(|(spot, _)| *spot as usize >= nodes) {
                    return Err(outside(*spot, nodes));
                }
                Destinations::Hotspot { spots: spots.clone(), most: total as usize - 1 }
            }
            Pattern::Permutation(to) if to.len() == nodes => Destinations::Fixed(to.clone()),
            Pattern::Permutation(to) => {
                return Err(NocError(format!("a list of {} destinations for {nodes} terminals", to.len())));
            }
        };
        if let Destinations::Fixed(to) = &destinations
            && let Some(node) = to.iter().find(|t| **t as usize >= nodes)
        {
            return Err(outside(*node, nodes));
        }
        match destinations {
            Destinations::NextGroup { terminals } if terminals > nodes => {
                Err(NocError("this traffic is for the groups of a dragonfly".to_owned()))
            }
            Destinations::WorstColumn { row } if row * row > nodes => {
                Err(NocError("this traffic is for a square of terminals".to_owned()))
            }
            other => Ok(other),
        }
    }

    /// Where a packet goes.
    pub(in crate::net::noc) fn of(&self, source: u32, nodes: usize, draws: &mut Sequence) -> u32 {
        let from = source as usize;
        let to = match self {
            Destinations::Fixed(to) => return to[from],
            Destinations::Uniform => draws.upto(nodes - 1),
            Destinations::Background(barred) => loop {
                let to = draws.upto(nodes - 1);
                if !barred[to] {
                    break to;
                }
            },
            Destinations::Diagonal => {
                if draws.upto(2) == 0 {
                    (from + 1) % nodes
                } else {
                    from
                }
            }
            Destinations::Asymmetric => from % (nodes / 2) + if draws.upto(1) == 1 { nodes / 2 } else { 0 },
            Destinations::Taper64 => {
                if draws.upto(1) == 1 {
                    let (y, x) = (draws.upto(2), draws.upto(2));
                    (64 + from + 8 * y + x - 9) % 64
                } else {
                    draws.upto(nodes - 1)
                }
            }
            Destinations::NextGroup { terminals } => {
                (draws.upto(terminals - 1) + (from / terminals + 1) * terminals) % nodes
            }
            Destinations::WorstColumn { row } => draws.upto(row - 1) * row + from / row,
            Destinations::Hotspot { spots, most } => {
                let last = spots.len() - 1;
                let mut left = if last == 0 { 0 } else { draws.upto(*most) };
                let spot = spots.iter().position(|(_, weight)| {
                    let here = left < *weight as usize;
                    left = left.saturating_sub(*weight as usize);
                    here
                });
                return spots[spot.unwrap_or(last)].0;
            }
        };
        to as u32
    }
}

fn outside(node: u32, nodes: usize) -> NocError {
    NocError(format!("traffic to terminal {node}: there are {nodes}"))
}

/// A random permutation as BookSim2 draws it: each number in turn goes to a random one of the places that are left.
fn permutation(nodes: usize, seed: u32) -> Vec<u32> {
    let mut draws = Sequence::new(seed);
    let mut free: Vec<usize> = (0..nodes).collect();
    let mut to = vec![0; nodes];
    for number in 0..nodes {
        let place = free.remove(draws.upto(free.len() - 1));
        to[place] = number as u32;
    }
    to
}
