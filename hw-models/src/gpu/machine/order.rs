//! The order in which the scheduler fills SMs with the first CTAs of a launch.

use super::super::spec::GpuSpec;

/// SMs in the order in which they are filled, of those that can take clusters of so many CTAs.
///
/// On an H200 (`device_placement.csv`, `device_order.csv`) a launch of so many CTAs without clusters gives each GPC its share of
/// them, neighbours together, while one with clusters gives each GPC one cluster in turn; SMs of incomplete groups come first, and take no clusters of
/// more than two. Which GPCs get one CTA more, and in which order they take clusters of more than two, differs from the chips'.
pub(super) fn fill(spec: &GpuSpec, cluster: u32, ctas: u32, order: &mut Vec<u32>) {
    order.clear();
    let pairs = spec.launch.pair_sms.min(spec.sms_per_gpc[0]);
    if cluster <= 2 {
        order.extend(0..pairs);
    }
    if cluster <= 1 && !spec.launch.spread_ctas {
        fill_evenly(spec, pairs, ctas.saturating_sub(pairs), order);
        return;
    }
    // SMs that one GPC takes at a time; without clusters, those of a TPC.
    let step = cluster.max(2);
    let most = spec.sms_per_gpc.iter().copied().max().unwrap_or(0);
    for round in 0..most.div_ceil(step) {
        let mut first = 0;
        for (gpc, &sms) in spec.sms_per_gpc.iter().enumerate() {
            let skipped = if gpc == 0 { pairs } else { 0 };
            let begin = skipped + round * step;
            // What is left of a GPC after whole clusters takes none.
            let end = (begin + step).min(sms);
            if begin < end && (cluster <= 1 || end - begin == step) {
                order.extend(first + begin..first + end);
            }
            first += sms;
        }
    }
}

/// As many CTAs to each GPC, as far as it has SMs, one GPC after another; then the SMs that are left.
fn fill_evenly(spec: &GpuSpec, pairs: u32, ctas: u32, order: &mut Vec<u32>) {
    let rooms = || spec.sms_per_gpc.iter().enumerate().map(|(gpc, &sms)| if gpc == 0 { sms - pairs } else { sms });
    let most = spec.sms_per_gpc.iter().copied().max().unwrap_or(0);
    let level = (0..=most).take_while(|&l| rooms().map(|room| room.min(l)).sum::<u32>() <= ctas).last().unwrap_or(0);
    // Some GPCs take one more.
    let mut more = ctas.saturating_sub(rooms().map(|room| room.min(level)).sum());
    let mut left = Vec::new();
    let mut first = 0;
    for (gpc, (&sms, room)) in spec.sms_per_gpc.iter().zip(rooms()).enumerate() {
        let begin = first + if gpc == 0 { pairs } else { 0 };
        let one = u32::from(more > 0 && room > level);
        more -= one;
        let taken = room.min(level) + one;
        order.extend(begin..begin + taken);
        left.extend(begin + taken..first + sms);
        first += sms;
    }
    order.extend(left);
}

impl GpuSpec {
    /// SMs that clusters of so many CTAs can have at once, one CTA an SM.
    pub fn cluster_slots(&self, cluster: u32) -> u32 {
        let mut order = Vec::new();
        fill(self, cluster, u32::MAX, &mut order);
        order.len() as u32
    }

    /// The GPC of each cluster of so many CTAs that can run at once, one CTA an SM, in the order of their launch.
    pub fn cluster_gpcs(&self, cluster: u32) -> Vec<u32> {
        let mut order = Vec::new();
        fill(self, cluster, u32::MAX, &mut order);
        let gpcs: Vec<u32> =
            (0u32..).zip(&self.sms_per_gpc).flat_map(|(gpc, &sms)| std::iter::repeat_n(gpc, sms as usize)).collect();
        order.iter().step_by(cluster.max(1) as usize).map(|&sm| gpcs[sm as usize]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::device;
    use super::*;

    fn filled(cluster: u32) -> Vec<u32> {
        filled_by(cluster, u32::MAX)
    }

    fn filled_by(cluster: u32, ctas: u32) -> Vec<u32> {
        let mut order = Vec::new();
        fill(&device("h200").unwrap_or_else(|e| panic!("{e}")), cluster, ctas, &mut order);
        order
    }

    /// `device_placement.csv`: 132 CTAs, 66 clusters of two, 30 of four, 15 of eight at once.
    #[test]
    fn so_many_clusters_fit_at_once() {
        for (cluster, clusters) in [(1, 132), (2, 66), (4, 30), (8, 15)] {
            let order = filled(cluster);
            assert_eq!(order.len(), cluster as usize * clusters, "clusters of {cluster}");
            let mut sorted = order.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), order.len(), "an SM twice with clusters of {cluster}");
        }
    }

    /// Clusters go to one GPC after another, single CTAs to GPCs by their share.
    #[test]
    fn clusters_are_dealt_and_single_ctas_shared_out() {
        assert_eq!(filled(1)[..26], (0..26).collect::<Vec<_>>());
        // `device_order.csv`, chip 2: of 96, eight of the first GPC beside its pairs, then 11 or 12 of each.
        assert_eq!(filled_by(1, 96)[8..29], (8..28).chain([32]).collect::<Vec<_>>());
        assert_eq!(filled_by(1, 96).len(), 132);
        // Fewer than the pairs, and as many as there are.
        assert_eq!(filled_by(1, 3)[..8], (0..8).collect::<Vec<_>>());
        assert_eq!(filled_by(1, 132), (0..132).collect::<Vec<_>>());
        assert_eq!(filled(2)[8..14], [8, 9, 16, 17, 32, 33]);
        assert_eq!(filled(4)[..8], [8, 9, 10, 11, 16, 17, 18, 19]);
    }
}
