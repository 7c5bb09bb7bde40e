//! The order in which the scheduler fills SMs with the first CTAs of a launch.

use super::super::spec::GpuSpec;

/// SMs in the order in which they are filled, of those that can take clusters of so many CTAs.
///
/// On an H200 (`device_placement.csv`) a launch without clusters fills one GPC after another, while one with clusters gives
/// each GPC one cluster in turn; SMs of incomplete groups come first, and take no clusters of more than two.
pub(in super::super) fn fill(spec: &GpuSpec, cluster: u32, order: &mut Vec<u32>) {
    order.clear();
    let pairs = spec.launch.pair_sms.min(spec.sms_per_gpc[0]);
    if cluster <= 2 {
        order.extend(0..pairs);
    }
    if cluster <= 1 && !spec.launch.spread_ctas {
        // The rest of the first GPC comes last.
        order.extend(spec.sms_per_gpc[0]..spec.sms());
        order.extend(pairs..spec.sms_per_gpc[0]);
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

#[cfg(test)]
mod tests {
    use super::super::super::device;
    use super::*;

    fn filled(cluster: u32) -> Vec<u32> {
        let mut order = Vec::new();
        fill(&device("h200").unwrap_or_else(|e| panic!("{e}")), cluster, &mut order);
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

    /// Clusters go to one GPC after another, single CTAs fill a GPC first.
    #[test]
    fn clusters_are_dealt_and_single_ctas_fill() {
        assert_eq!(filled(1)[8..26], (16..34).collect::<Vec<_>>());
        assert_eq!(filled(2)[8..14], [8, 9, 16, 17, 32, 33]);
        assert_eq!(filled(4)[..8], [8, 9, 10, 11, 16, 17, 18, 19]);
    }
}
