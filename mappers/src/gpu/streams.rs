//! Launches of several streams, as a GPU runs them at once.

use std::collections::HashMap;
use std::sync::Arc;

use banksia_hw::gpu::program::{Kernel, Tensor};
use banksia_hw::gpu::{Gpu, GpuError, LaunchOptions, Submitted, Together};

use super::launch::Launch;

/// Launches that may overlap, and the memory that they share.
#[derive(Debug, Clone, Default)]
pub struct Streams {
    tensors: Vec<Tensor>,
    /// Where a buffer is, seen as a kernel sees it: two views of one buffer are kept apart, so that neither finds in L2 what the other left.
    places: HashMap<(String, u64, u64, u32, u32), u16>,
    launches: Vec<Queued>,
}

#[derive(Debug, Clone)]
struct Queued {
    kernel: Arc<Kernel>,
    tensors: Vec<u16>,
    after: Vec<usize>,
    gap_s: f64,
}

impl Streams {
    /// Adds a launch that waits for others, and so long after them; its number. Buffers of the same name, with its prefix, are the same memory.
    pub fn push(&mut self, launch: &Launch, prefix: &str, after: &[usize], gap_s: f64) -> usize {
        let tensors = launch.kernel.tensors.iter().zip(&launch.operands).map(|(t, operand)| {
            let key = (format!("{prefix}{}", operand.name), t.rows, t.row_bytes, t.piece_bytes, t.piece_rows);
            let next = self.tensors.len() as u16;
            let at = *self.places.entry(key).or_insert(next);
            if at == next {
                self.tensors.push(*t);
            }
            at
        });
        let tensors = tensors.collect();
        self.launches.push(Queued { kernel: Arc::clone(&launch.kernel), tensors, after: after.to_vec(), gap_s });
        self.launches.len() - 1
    }

    /// Adds the launches of a stream, one after the other, the first after `after`; the last one's number.
    pub fn chain(
        &mut self,
        launches: &[Launch],
        prefix: &str,
        after: &[usize],
        first_gap_s: f64,
        gap_s: f64,
    ) -> Option<usize> {
        let mut last: Option<usize> = None;
        for launch in launches {
            let at = match last {
                None => self.push(launch, prefix, after, first_gap_s),
                Some(before) => self.push(launch, prefix, &[before], gap_s),
            };
            last = Some(at);
        }
        last
    }

    /// Runs them all.
    ///
    /// # Errors
    /// The device cannot run one of them.
    pub fn run(&self, gpu: &mut Gpu, options: &LaunchOptions) -> Result<Together, GpuError> {
        let submitted = |q| {
            let Queued { kernel, tensors, after, gap_s }: &Queued = q;
            Submitted { kernel, tensors: tensors.clone(), after: after.clone(), gap_s: *gap_s }
        };
        let launches: Vec<Submitted<'_>> = self.launches.iter().map(submitted).collect();
        gpu.run_together(&self.tensors, &launches, options)
    }
}
