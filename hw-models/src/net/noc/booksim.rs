//! Configurations in BookSim2's words (Jiang et al., "A detailed and flexible cycle-accurate network-on-chip simulator", ISPASS 2013).

use std::collections::BTreeMap;

use super::config::{AllocatorKind, ArbiterKind, NocConfig, NocError, Priority, RouterConfig};
use super::shape::{RoutingFunction as R, Shape};

/// The keys of a configuration: `key=value` joined by semicolons or lines.
#[derive(Debug, Clone, Default)]
pub struct Keys<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Keys<'a> {
    /// Reads `key=value` joined by semicolons or lines; later values of a key count.
    ///
    /// # Errors
    /// A part has no `=`.
    pub fn parse(text: &'a str) -> Result<Keys<'a>, NocError> {
        let pairs = text.split([';', '\n']).map(str::trim).filter(|p| !p.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').ok_or_else(|| NocError(format!("`{pair}` is no `key=value`")))?;
            Ok((key.trim(), value.trim()))
        });
        pairs.collect::<Result<_, NocError>>().map(Keys)
    }

    /// The keys given as pairs; empty values are left out.
    pub fn from_pairs(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Keys<'a> {
        Keys(pairs.filter(|(_, value)| !value.is_empty()).collect())
    }

    /// A key's text, or what stands for it.
    pub fn word(&self, key: &str, other: &'a str) -> &'a str {
        self.0.get(key).copied().unwrap_or(other)
    }

    /// A key's number, or what stands for it.
    ///
    /// # Errors
    /// It is not a number.
    pub fn number<T: std::str::FromStr>(&self, key: &str, other: T) -> Result<T, NocError> {
        match self.0.get(key) {
            None => Ok(other),
            Some(v) => v.parse().map_err(|_| NocError(format!("{key} is `{v}`, not a number of its kind"))),
        }
    }

    fn yes(&self, key: &str) -> Result<bool, NocError> {
        Ok(self.number(key, 0_i64)? > 0)
    }
}

impl NocConfig {
    /// A configuration in BookSim2's words: `key=value` joined by semicolons or lines. `links` gives the text of a `network_file`.
    ///
    /// # Errors
    /// A key's value cannot be read, or the network is none of those that are modelled.
    pub fn from_booksim(text: &str, links: impl Fn(&str) -> Result<String, NocError>) -> Result<NocConfig, NocError> {
        NocConfig::from_booksim_keys(&Keys::parse(text)?, links)
    }

    /// The same from keys.
    ///
    /// # Errors
    /// As [`NocConfig::from_booksim`].
    pub fn from_booksim_keys(
        keys: &Keys<'_>,
        links: impl Fn(&str) -> Result<String, NocError>,
    ) -> Result<NocConfig, NocError> {
        let (shape, routing) = shape(keys, links)?;
        let priority = match keys.word("priority", "none") {
            "none" => Priority::None,
            "age" => Priority::Age,
            "network_age" => Priority::NetworkAge,
            other => return Err(NocError(format!("no priority `{other}`"))),
        };
        let router = RouterConfig {
            virtual_channels: keys.number("num_vcs", 16)?,
            buffer_flits: keys.number("vc_buf_size", 8)?,
            routing_delay: keys.number("routing_delay", 1)?,
            vc_alloc_delay: keys.number("vc_alloc_delay", 1)?,
            sw_alloc_delay: keys.number("sw_alloc_delay", 1)?,
            crossbar_delay: keys.number("st_prepare_delay", 0_u64)?.saturating_add(keys.number("st_final_delay", 1)?),
            credit_delay: keys.number("credit_delay", 0)?,
            vc_allocator: allocator(keys.word("vc_allocator", "islip"))?,
            sw_allocator: allocator(keys.word("sw_allocator", "islip"))?,
            input_speedup: keys.number("input_speedup", 1)?,
            output_speedup: keys.number("output_speedup", 1)?,
            internal_speedup: keys.number("internal_speedup", 1.0)?,
            output_buffer: usize::try_from(keys.number("output_buffer_size", -1_i64)?).ok(),
            speculative: keys.yes("speculative")?,
            hold_switch_for_packet: keys.yes("hold_switch_for_packet")?,
            wait_for_tail_credit: keys.yes("wait_for_tail_credit")?,
            vc_busy_when_full: keys.yes("vc_busy_when_full")?,
            vc_prioritize_empty: keys.yes("vc_prioritize_empty")?,
            priority,
        };
        let unit_latency = keys.number("use_noc_latency", 1.0)? <= 0.0;
        let config = NocConfig { shape, routing, unit_latency, router };
        config.check()?;
        Ok(config)
    }
}

/// The topology and its routing function.
fn shape(keys: &Keys<'_>, links: impl Fn(&str) -> Result<String, NocError>) -> Result<(Shape, R), NocError> {
    let (radix, dimensions) = (keys.number("k", 8)?, keys.number("n", 2)?);
    let name = keys.word("topology", "torus");
    let routing = keys.word("routing_function", "none");
    let only = |key: &str, value: usize, what: &str| match keys.number(key, value)? {
        given if given == value => Ok(()),
        given => Err(NocError(format!("{what} has {key} = {value}, not {given}"))),
    };
    let shape = match name {
        "mesh" => Shape::Mesh { radix, dimensions },
        "torus" => Shape::Torus { radix, dimensions },
        "fly" => Shape::Butterfly { radix, stages: dimensions },
        "cmesh" => {
            only("n", 2, "a concentrated mesh")?;
            only("c", 4, "a concentrated mesh")?;
            Shape::ConcentratedMesh { radix }
        }
        "flatfly" => {
            let side = keys.number("xr", 1)?;
            only("yr", side, "a flattened butterfly as wide")?;
            only("x", radix, "a flattened butterfly as large")?;
            Shape::FlattenedButterfly { radix, dimensions, side }
        }
        "fattree" => Shape::FatTree { radix, levels: dimensions },
        "qtree" | "tree4" => {
            only("k", 4, "such a tree")?;
            only("n", 3, "such a tree")?;
            if name == "qtree" { Shape::QuadTree } else { Shape::Tree4 }
        }
        "dragonflynew" => {
            only("n", 1, "a dragonfly")?;
            Shape::Dragonfly { radix }
        }
        "anynet" => Shape::Links(links(keys.word("network_file", ""))?),
        other => return Err(NocError(format!("no topology `{other}`"))),
    };
    let routing = match (name, routing) {
        ("mesh", "dim_order" | "dor") | ("torus", "dim_order") | ("cmesh", "dor") | ("flatfly", "ran_min") => {
            R::DimensionOrder
        }
        ("torus", "dim_order_bal") => R::DimensionOrderBalanced,
        ("cmesh", "dor_no_express") => R::DimensionOrderNoExpress,
        ("mesh" | "cmesh", "xy_yx") | ("flatfly", "xyyx") => R::XyYx,
        ("cmesh", "xy_yx_no_express") => R::XyYxNoExpress,
        ("mesh", "adaptive_xy_yx") | ("flatfly", "adaptive_xyyx") => R::AdaptiveXyYx,
        ("mesh", "romm") => R::Romm,
        ("mesh" | "torus", "valiant") => R::LooseValiant,
        ("flatfly", "valiant") => R::Valiant,
        ("mesh" | "torus", "min_adapt") => R::FirstOfAdaptive,
        ("mesh", "planar_adapt") => R::FirstOfPlanar,
        ("fly", "dest_tag") => R::DestinationTag,
        ("fattree" | "qtree" | "tree4", "nca") => R::NearestCommonAncestor,
        ("fattree" | "tree4", "anca") => R::AdaptiveCommonAncestor,
        ("flatfly" | "dragonflynew", "ugal") => R::Ugal,
        ("flatfly", "ugal_xyyx") => R::UgalXyYx,
        ("dragonflynew" | "anynet", "min") => R::Minimal,
        (shape, routing) => return Err(NocError(format!("no routing `{routing}` on the topology `{shape}`"))),
    };
    Ok((shape, routing))
}

/// An allocator by its name, with its parameter in brackets: `islip(2)`, `separable_input_first(matrix)`. As BookSim2's routers do, the
/// keys `alloc_iters` and `arb_type` are not looked at: only a parameter in the name counts.
fn allocator(text: &str) -> Result<AllocatorKind, NocError> {
    let (name, parameter) = match text.split_once('(') {
        Some((name, rest)) => (name, rest.trim_end_matches(')')),
        None => (text, ""),
    };
    let iterations = || match parameter {
        "" => Ok(1),
        p => p.parse().map_err(|_| NocError(format!("`{text}`: iterations are a whole number"))),
    };
    let chooser = || match parameter {
        "" | "round_robin" => Ok(ArbiterKind::RoundRobin),
        "matrix" => Ok(ArbiterKind::Matrix),
        other => Err(NocError(format!("no arbiter `{other}`"))),
    };
    Ok(match name {
        "islip" => AllocatorKind::Islip { iterations: iterations()? },
        "select" => AllocatorKind::Select { iterations: iterations()? },
        "separable_input_first" => AllocatorKind::SeparableInputFirst(chooser()?),
        "separable_output_first" => AllocatorKind::SeparableOutputFirst(chooser()?),
        "wavefront" => AllocatorKind::Wavefront,
        "loa" => AllocatorKind::LonelyOutput,
        "max_size" => AllocatorKind::MaximumSize,
        "pim" => return Err(NocError("parallel iterative matching draws at random and is not modelled".to_owned())),
        other => return Err(NocError(format!("no allocator `{other}`"))),
    })
}
