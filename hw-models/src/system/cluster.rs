//! `[machine]` of an experiment that names a cluster: nodes of GPUs.

use std::path::Path;
use std::sync::Arc;

use banksia_input::schema::of_overlay;
use banksia_input::{InputError, Source};
use schemars::{JsonSchema, Schema, json_schema};
use serde::Deserialize;

use super::fabric::FabricSpec;
use super::machine::{Device, Machine};
use crate::gpu::GpuSpec;
use crate::machines;
use crate::net::fabric::cluster::{Cluster, cluster};
use crate::net::fabric::machine::CATALOG;

/// Most nodes of a cluster.
const MOST_NODES: i64 = 1 << 16;

/// The keys of `[machine]` of a cluster; others are written over those of its GPUs' file.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct ClusterTable {
    /// The cluster, a name of the catalog of networks (`h200`, `h100-eos`, `a100-selene`, ...) or a TOML file beside this one: nodes of GPUs,
    /// the links in a node and between nodes. `NAME-node` is one node of it.
    pub cluster: String,
    /// Nodes that there are; as many as the ranks need where it is left out.
    #[schemars(range(min = 1))]
    pub nodes: Option<i64>,
}

/// The schema of `[machine]` with a cluster.
pub(super) fn overlay_schema() -> Schema {
    let mut table = of_overlay::<GpuSpec>();
    let names: Vec<&str> = CATALOG.iter().map(|(name, _)| *name).collect();
    let keys = of_overlay::<ClusterTable>();
    if let (Some(to), Some(from)) = (
        table.pointer_mut("/properties").and_then(|p| p.as_object_mut()),
        keys.pointer("/properties").and_then(|p| p.as_object()),
    ) {
        to.extend(from.clone());
        if let Some(cluster) = to.get_mut("cluster").and_then(|c| c.as_object_mut()) {
            cluster.insert(
                "examples".to_owned(),
                json_schema!({ "examples": names }).get("examples").cloned().unwrap_or_default(),
            );
        }
    }
    table.insert("required".to_owned(), vec!["cluster"].into());
    table
}

impl Machine {
    /// The machine of an experiment whose `[machine]` names a cluster: one of its GPUs, before ranks are given roles.
    ///
    /// # Errors
    /// There is no such cluster, or a key cannot be.
    pub fn read_cluster(table: &ClusterTable, experiment: &Source, path: Option<&Path>) -> Result<Self, InputError> {
        let key = "machine.cluster";
        let explained = |e: InputError| InputError { help: e.help.clone(), ..experiment.error(key, e.problem) };
        let mut nodes = table.nodes;
        let mut configuration = String::new();
        let found: Cluster = match machines::as_path(&table.cluster, path) {
            Some(file) => {
                let source = Source::read(&file).map_err(explained)?;
                configuration = format!("\n# cluster\n{}", source.text());
                Cluster::from_source(&source)?
            }
            None => match table.cluster.strip_suffix("-node") {
                Some(name) => {
                    nodes = nodes.or(Some(1));
                    cluster(name).map_err(explained)?
                }
                None => cluster(&table.cluster).map_err(explained)?,
            },
        };
        if let Some(nodes) = nodes {
            experiment.check("machine.nodes", nodes, 1..=MOST_NODES)?;
        }
        let file = machines::open(found.gpu(), None).map_err(explained)?;
        let source = file.overlaid(experiment, "machine", &["cluster", "nodes"])?;
        let gpu = Self::lone_gpu(&source, experiment)?;
        configuration.insert_str(0, &gpu.configuration);
        Ok(Self {
            name: table.cluster.clone(),
            kind: "cluster".into(),
            description: format!("nodes of {} {}", found.gpus_per_node(), found.gpu()),
            fabric: Some(Arc::new(FabricSpec { cluster: found, nodes: nodes.and_then(|n| u32::try_from(n).ok()) })),
            configuration,
            ..gpu
        })
    }

    /// The same cluster with ranks by role: each a device's name, and how many ranks it stands for.
    #[must_use]
    pub fn with_roles(&self, roles: &[(String, u32)]) -> Self {
        let device = self.devices.first().map(|(_, d)| d.clone());
        let all: u32 = roles.iter().fold(0, |sum, (_, copies)| sum.saturating_add(*copies));
        let of = |(name, _): &(String, u32)| Some((name.clone(), device.clone()?));
        Self {
            name: format!("{all} x {} ({})", device.as_ref().map_or("", Device::name), self.name),
            devices: roles.iter().filter_map(of).collect(),
            copies: roles.iter().map(|(_, copies)| *copies).collect(),
            ..self.clone()
        }
    }

    /// One GPU of the cluster, as a machine of its own.
    #[must_use]
    pub fn alone(&self) -> Self {
        let name = self.devices.first().map_or_else(|| self.name.clone(), |(_, d)| d.name().to_owned());
        let kind = match self.devices.first() {
            Some((_, Device::Gpu(spec))) => spec.kind.clone(),
            _ => self.kind.clone(),
        };
        Self { name, kind, fabric: None, copies: Vec::new(), ..self.clone() }
    }
}
