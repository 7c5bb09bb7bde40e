//! What a mapping with products, experts or states in the banks claims of a step: operator by operator, in the order in which halves of the batch
//! take turns.

use std::collections::BTreeMap;

use banksia_hw::gpu::estimate::Judge;
use banksia_workloads::{Op, OperatorNode, Phase, Step};

use super::chain::{At, Chain, Here};
use super::convert;
use super::map::Hybrid;
use super::place::{On, Placed, is_of_attention};
use super::values::Wanted;
use crate::gpu::model::{ChosenPart, alike, resident};
use crate::gpu::routing::OFFSETS;
use crate::pim::{OPERATORS, PimOperators};
use crate::plan::Unsupported;
use crate::replay::{Claims, Group, InBanks, OnGpu};

/// What a device has of an operator's result.
#[derive(Debug, Clone, Default)]
struct Share {
    bytes: u64,
    /// The groups that make it.
    groups: Vec<usize>,
}

/// An operator's result.
#[derive(Debug, Clone, Default)]
pub(super) struct Made {
    gpu: Option<Share>,
    pim: Option<Share>,
    /// What has been sent over: to which device, which of its tensors, by which group.
    sent: Vec<(On, String, usize)>,
}

impl Made {
    fn on(device: On, bytes: u64, groups: Vec<usize>) -> Self {
        let share = Some(Share { bytes, groups });
        match device {
            On::Gpu => Self { gpu: share, ..Self::default() },
            On::Pim => Self { pim: share, ..Self::default() },
        }
    }

    /// What a device has, and what the other has.
    fn seen_from(&self, device: On) -> (Option<&Share>, Option<&Share>) {
        match device {
            On::Gpu => (self.gpu.as_ref(), self.pim.as_ref()),
            On::Pim => (self.pim.as_ref(), self.gpu.as_ref()),
        }
    }
}

/// The claims in the making.
struct Claiming<'a> {
    hybrid: &'a Hybrid,
    step: &'a Step,
    claims: Claims,
    banks: InBanks,
    /// Bytes over the link, by the name of the transfers.
    links: BTreeMap<String, u64>,
    /// Buffers that kernels find written by others than kernels.
    delivered: Vec<String>,
    /// Weights in the banks' layout, which kernels read as they lie there.
    resident: Vec<String>,
}

impl Hybrid {
    /// What a step claims whose operators run on either device.
    pub(super) fn placed_claims(&mut self, step: &Step, judge: &mut dyn Judge) -> Result<Claims, Unsupported> {
        let (mut chains, mut alikes, mut buffers) = (Vec::new(), Vec::new(), Vec::new());
        for half in self.halves_of(step) {
            let suffix = half.suffix;
            let chain = self.chain(step, half, Made::on(On::Gpu, 1, Vec::new()), judge)?;
            let mut parts: Vec<ChosenPart> = chain.parts.values().cloned().collect();
            parts.sort_by_key(ChosenPart::at);
            buffers.extend(resident(&parts, suffix));
            alikes.extend(alike(&parts, suffix));
            chains.push(chain);
        }
        let this: &Self = self;
        let mut claiming = Claiming {
            hybrid: this,
            step,
            claims: Claims::default(),
            banks: InBanks::new(this.site.pim_number, &this.site.pim_name),
            links: BTreeMap::new(),
            delivered: Vec::new(),
            resident: buffers,
        };
        claiming.cached_prompt();
        let mut going = true;
        while going {
            going = false;
            for chain in &mut chains {
                going |= chain.turn(|chain, at| {
                    claiming.operator(chain, at);
                    Ok::<_, Unsupported>(())
                })?;
            }
        }
        let Claiming { mut claims, banks, links, delivered, resident, .. } = claiming;
        let capacity_bytes = this.site.spec.dram.capacity_bytes;
        let (device, name) = (this.site.gpu, this.site.gpu_name.clone());
        let footprint_bytes = this.kept_by_gpu();
        claims.gpus.push(OnGpu { device, name, resident, delivered, alike: alikes, footprint_bytes, capacity_bytes });
        claims.banks.push(banks);
        claims.links = links.into_iter().collect();
        Ok(claims)
    }

    /// Bytes that the GPU keeps of a generation whose operators run on either device.
    fn kept_by_gpu(&self) -> u64 {
        let g = &self.generation;
        let kv = if self.on_gpu { self.model.kv_bytes(g.last_context()) } else { 0 };
        let in_banks = self.operators.as_ref().map_or(0, PimOperators::state_bytes);
        let states = (self.model.state_bytes() * u128::from(g.batch)).saturating_sub(u128::from(in_banks));
        let held = u128::from(self.weights.of_gpu)
            + u128::from(self.weights.scratch)
            + u128::from(self.whole.activations())
            + kv * u128::from(g.batch)
            + states;
        u64::try_from(held).unwrap_or(u64::MAX)
    }
}

impl Claiming<'_> {
    fn push(&mut self, group: Group) -> usize {
        self.claims.groups.push(group);
        self.claims.groups.len() - 1
    }

    /// One transfer, of so many bytes; nothing where both devices use the same memory. What it waits for stands for it then.
    fn transfer(&mut self, label: &str, of: &str, bytes: u64, after: Vec<usize>) -> Option<usize> {
        if bytes == 0 || !self.hybrid.site.is_linked() {
            return None;
        }
        let sum = self.links.entry(label.to_owned()).or_insert(0);
        *sum = sum.saturating_add(bytes);
        let (name, labels) = (format!("{label} for {of}"), vec![label.to_owned()]);
        Some(self.push(Group { name, labels, after, required: true, instructions: Some(1), ..Group::default() }))
    }

    /// Keys and values of tokens before a prompt, which come over the link where the banks have them.
    fn cached_prompt(&mut self) {
        let (hybrid, prompt) = (self.hybrid, self.step.phase == Phase::Prefill);
        let tokens = hybrid.generation.context_tokens;
        if !prompt || tokens == 0 || hybrid.site.shared {
            return;
        }
        let layers = hybrid.cached_layers();
        for layer in layers {
            self.transfer("kv_to_gpu", &format!("layer{layer}"), hybrid.kv_of(layer, tokens), Vec::new());
        }
    }

    /// Groups that an operator's inputs are there after: those that make them, and the transfer of what its device has not.
    fn inputs(
        &mut self,
        chain: &mut Chain<Made>,
        wanted: &[Wanted],
        (device, rows): (On, Option<f64>),
        (label, of): (&str, &str),
    ) -> Vec<usize> {
        let (mut after, mut from, mut bytes, mut crossing) = (Vec::new(), Vec::new(), 0u64, Vec::new());
        for tensor in wanted {
            let Some(made) = chain.values.get(tensor.value) else { continue };
            let (here, there) = made.seen_from(device);
            after.extend(here.into_iter().flat_map(|s| s.groups.iter().copied()));
            let Some(there) = there else { continue };
            // An expert's rows are where its last product was.
            if rows.is_some() && here.is_some() {
                continue;
            }
            after.extend(there.groups.iter().copied());
            let sent = made.sent.iter().find(|(to, name, _)| *to == device && *name == tensor.tensor);
            if let Some((.., group)) = sent {
                after.push(*group);
                continue;
            }
            let all = there.bytes.saturating_add(here.map_or(0, |s| s.bytes)).max(1);
            let part = tensor.bytes as f64 * (there.bytes as f64 / all as f64 * rows.unwrap_or(1.0));
            bytes = bytes.saturating_add(part.ceil() as u64);
            from.extend(there.groups.iter().copied());
            crossing.push(tensor);
        }
        if !crossing.is_empty()
            && let Some(group) = self.transfer(label, of, bytes, sorted(from))
        {
            after.push(group);
            for tensor in crossing {
                if let Some(made) = chain.values.get_mut(tensor.value) {
                    made.sent.push((device, tensor.tensor.clone(), group));
                }
            }
        }
        sorted(after)
    }

    fn operator(&mut self, chain: &mut Chain<Made>, at: At) {
        let (region, _, index) = at;
        let Some(here) = chain.here(at) else { return };
        if here.place == Placed::Pim && is_of_attention(&here.gpu) {
            if matches!(here.gpu.op, Op::AttentionScores { .. })
                && let Some(layer) = here.layer
            {
                self.attention(chain, region, layer);
            }
            return;
        }
        let wanted = chain.wanted(region, index);
        let name = here.pim.as_ref().map_or(&here.gpu, |n| n).name.clone();
        let mut made = Made::default();
        if let Some(part) = chain.parts.get(&(region, index)).filter(|_| here.place != Placed::Gpu) {
            // What the banks give of it is put where a kernel's result would be.
            self.delivered.push(format!("{}{}", part.output(), chain.half.suffix));
            if matches!(here.gpu.op, Op::Dispatch { .. }) {
                // Where each expert's rows begin comes with them.
                self.delivered.push(format!("{}{}", OFFSETS, chain.half.suffix));
            }
        }
        if here.on_gpu() {
            let share = (On::Gpu, here.share(&here.gpu));
            let after = self.inputs(chain, &wanted, share, ("activations_to_gpu", &name));
            let group = self.kernels(chain, &here, &name, (region, index), after);
            made.gpu = Some(Share { bytes: here.gpu.activation_bytes_out(), groups: vec![group] });
        }
        if let (Some(node), Some(operators)) = (here.on_pim(), &self.hybrid.operators) {
            let share = (On::Pim, here.share(node));
            let after = self.inputs(chain, &wanted, share, ("activations_to_pim", &name));
            let sequences = chain.half.sequences.clone();
            let place = (&mut self.claims, &mut self.banks);
            let group = operators.claim(node, self.step.context(), sequences, after, place);
            made.pim = Some(Share { bytes: node.activation_bytes_out(), groups: vec![group] });
        }
        if here.place != Placed::Gpu && here.place != Placed::Pim {
            // Of experts that are split either device has something, were it no rows.
            made.gpu.get_or_insert_default();
            made.pim.get_or_insert_default();
        }
        if let Some(slot) = chain.values.get_mut(index) {
            *slot = made;
        }
    }

    /// The kernels of an operator, or of those that are launched with it; its weights come before them where the banks alone have them.
    fn kernels(
        &mut self,
        chain: &Chain<Made>,
        here: &Here,
        name: &str,
        at: (usize, usize),
        mut after: Vec<usize>,
    ) -> usize {
        let (hybrid, suffix) = (self.hybrid, chain.half.suffix);
        let Some(part) = chain.parts.get(&at) else {
            // It is launched with another, or moves no data.
            return self.push(Group { name: format!("{name}{suffix}"), after, ..Group::default() });
        };
        after.extend(self.weights(&here.gpu, here, part, name));
        let group = self.push(Group {
            name: format!("{name}{suffix}"),
            labels: vec![part.label().to_owned()],
            after: sorted(after),
            required: part.launches() > 0,
            instructions: Some(part.launches() as u64),
            ..Group::default()
        });
        if let Some(layer) = here.layer.filter(|_| part.is_append() && self.step.phase == Phase::Prefill)
            && !hybrid.site.shared
        {
            let bytes = hybrid.kv_of(layer, self.step.tokens());
            self.transfer("kv_to_pim", name, bytes, vec![group]);
        }
        group
    }

    /// Weights on their way from the banks to a kernel that multiplies them; what they are there after.
    fn weights(&mut self, node: &OperatorNode, here: &Here, part: &ChosenPart, name: &str) -> Vec<usize> {
        let (hybrid, bytes) = (self.hybrid, node.weight_bytes_read());
        if bytes == 0 || !hybrid.weights.has_from_banks(node, &here.block) || node.matrices().is_none() {
            return Vec::new();
        }
        let mut after: Vec<usize> = self.transfer("weights_to_gpu", name, bytes, Vec::new()).into_iter().collect();
        match convert::source(hybrid.copies, hybrid.site.shared, part.weights()) {
            Some(from) => {
                let buffer = match here.layer.filter(|_| from.own) {
                    Some(layer) => format!("layer{layer}.{}", from.name),
                    None => from.name,
                };
                self.resident.push(buffer);
                let labels = vec!["weight conversion".to_owned()];
                let (name, instructions) = (format!("weight conversion of {name}"), Some(1));
                let group = Group { name, labels, after, required: true, instructions, ..Group::default() };
                after = vec![self.push(group)];
            }
            // Behind a link they come to where kernels read them.
            None => self.delivered.push(convert::ROOM.to_owned()),
        }
        after
    }

    /// A layer's attention in the banks.
    fn attention(&mut self, chain: &mut Chain<Made>, region: usize, layer: u32) {
        let Some((kind, attention, number)) = self.hybrid.attention_of(layer) else { return };
        let (own, wanted) = chain.attention(region);
        let name = format!("layer{layer}.attention{}", chain.half.suffix);
        let after = self.inputs(chain, &wanted, (On::Pim, None), ("qkv_to_pim", &name));
        let (batch, held) = (chain.half.batch(), kind.held(self.step.context()));
        let group = self.push(Group {
            name: name.clone(),
            labels: OPERATORS.map(str::to_owned).to_vec(),
            after,
            required: true,
            attention: true,
            adds: attention.adds(batch, held),
            ..Group::default()
        });
        attention.claim(&name, number, chain.half.sequences.clone(), held, (group, &mut self.banks));
        let bytes = self.hybrid.bytes(kind.returned(), batch);
        for index in own {
            if let Some(part) = chain.parts.get(&(region, index)) {
                self.delivered.push(format!("{}{}", part.output(), chain.half.suffix));
            }
            if let Some(slot) = chain.values.get_mut(index) {
                *slot = Made::on(On::Pim, bytes, vec![group]);
            }
        }
    }
}

fn sorted(mut groups: Vec<usize>) -> Vec<usize> {
    groups.sort_unstable();
    groups.dedup();
    groups
}
