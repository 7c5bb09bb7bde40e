//! What the mapping claims of a step: what lies in the banks, whose values cross the link, and what the GPU has.

use banksia_hw::gpu::estimate::Judge;
use banksia_workloads::{Phase, Step};

use super::half::Half;
use super::map::Hybrid;
use crate::gpu::model::{Parts, alike, delivered, resident};
use crate::pim::OPERATORS;
use crate::plan::{Plan, Unsupported};
use crate::replay::{Claims, Group, InBanks, OnGpu};

impl Hybrid {
    /// What a step claims.
    pub(super) fn claims_of(&mut self, step: &Step, judge: &mut dyn Judge) -> Result<Claims, Unsupported> {
        let on_gpu = step.phase == Phase::Prefill || self.on_gpu;
        let mut claims = Claims::default();
        let (mut buffers, mut first, mut sent) = (Vec::new(), Vec::new(), Vec::new());
        if on_gpu || self.parts.is_empty() {
            let wanted = if on_gpu { Parts::All } else { Parts::WithoutCache };
            let parts = self.whole.chosen_parts(step, wanted, judge)?;
            (buffers, first, sent) = (resident(&parts, ""), alike(&parts, ""), delivered(&parts, ""));
        } else {
            for part in &mut self.parts {
                let own = Step::decode(part.generation().batch, step.context());
                let parts = part.chosen_parts(&own, Parts::WithoutCache, judge)?;
                for half in &self.halves {
                    buffers.extend(resident(&parts, half.suffix));
                    first.extend(alike(&parts, half.suffix));
                    sent.extend(delivered(&parts, half.suffix));
                }
            }
        }
        let capacity_bytes = self.site.spec.dram.capacity_bytes;
        let kept = self.footprint();
        // What lies in the banks is not the GPU's.
        let kv = if on_gpu && self.on_gpu { kept.kv } else { 0 };
        let footprint_bytes = kept.weights.saturating_add(kept.activations).saturating_add(kv);
        let (device, name) = (self.site.gpu, self.site.gpu_name.clone());
        let gpu =
            OnGpu { device, name, resident: buffers, delivered: sent, alike: first, footprint_bytes, capacity_bytes };
        claims.gpus.push(gpu);
        let kernels = |name: String, after: Vec<usize>, labels: &[&str]| Group {
            name,
            labels: labels.iter().map(|l| (*l).to_owned()).collect(),
            after,
            any_on: Some(device),
            required: true,
            ..Group::default()
        };
        if on_gpu {
            claims.groups.push(kernels("kernels".into(), Vec::new(), &["kv_to_gpu", "kv_to_pim"]));
            return Ok(claims);
        }
        let mut banks = InBanks::new(self.site.pim_number, &self.site.pim_name);
        let layers = self.cached_layers();
        // What the next kernels of each half wait for.
        let mut back: Vec<Option<usize>> = vec![None; self.halves.len()];
        for layer in &layers {
            for (half, back) in self.halves.iter().zip(&mut back) {
                let segment =
                    kernels(format!("kernels before layer{layer}{}", half.suffix), back.iter().copied().collect(), &[]);
                claims.groups.push(segment);
                *back = Some(self.attention_group(*layer, half, step.context(), (&mut claims, &mut banks)));
            }
        }
        // After the last attention halves follow one another without anything between: their buffers say whose is whose.
        claims.groups.push(kernels(
            "kernels after the last layer's attention".into(),
            back.first().copied().flatten().into_iter().collect(),
            &[],
        ));
        claims.banks.push(banks);
        Ok(claims)
    }

    /// The groups of a layer's attention after the group before; what completes it.
    fn attention_group(
        &self,
        layer: u32,
        half: &Half,
        context: u64,
        (claims, banks): (&mut Claims, &mut InBanks),
    ) -> usize {
        let linked = self.site.is_linked();
        let link = |what: &str, after: usize| Group {
            name: format!("layer{layer}.{what}{}", half.suffix),
            labels: vec![what.to_owned()],
            after: vec![after],
            required: true,
            ..Group::default()
        };
        if linked {
            claims.groups.push(link("qkv_to_pim", claims.groups.len() - 1));
        }
        let group = claims.groups.len();
        let name = format!("layer{layer}.attention{}", half.suffix);
        claims.groups.push(Group {
            name: name.clone(),
            labels: OPERATORS.map(str::to_owned).to_vec(),
            after: vec![group - 1],
            required: true,
            attention: true,
            ..Group::default()
        });
        if let Some((kind, attention, index)) = self.attention_of(layer) {
            claims.groups[group].adds = attention.adds(half.batch(), kind.held(context));
            attention.claim(&name, index, half.sequences.clone(), kind.held(context), (group, banks));
        }
        if linked {
            claims.groups.push(link("attention_to_gpu", group));
        }
        claims.groups.len() - 1
    }
}
