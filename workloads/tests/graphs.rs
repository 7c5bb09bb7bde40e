//! Laws of the operator graphs: shapes, order, and counts.

use banksia_workloads::shard::{Shard, Sharding, Span};
use banksia_workloads::{
    Communication, DataType, Generation, GptConfig, Graph, GraphError, NodeTypes, Op, OperatorNode, Place, Step,
    Tensor, TensorKind, zoo,
};

fn decode(context: u64) -> Step {
    Step::decode(1, context)
}

fn small() -> GptConfig {
    zoo::gpt("gpt2-small").expect("embedded")
}

fn activation(name: &str, shape: &[u64]) -> Tensor {
    Tensor::new(name, shape, DataType::Bf16, TensorKind::Activation)
}

/// An element-wise operator on `[1, 1, width]`.
fn residual(name: &str, width: u64) -> OperatorNode {
    OperatorNode {
        name: name.into(),
        label: "residual".into(),
        layer: None,
        op: Op::Residual { width },
        tokens: 1,
        batch: 1,
        dtype: DataType::Bf16,
        types: NodeTypes::uniform(DataType::Bf16),
        load: Vec::new().into(),
        inputs: vec![],
        weights: vec![],
        outputs: vec![activation(name, &[1, 1, width])],
    }
}

/// A copy of the graph with one node changed.
fn changed(graph: &Graph, name: &str, change: impl Fn(&mut OperatorNode)) -> Graph {
    let mut copy = Graph::new();
    for index in graph.petgraph().node_indices() {
        let mut node = graph.petgraph()[index].clone();
        if node.name == name {
            change(&mut node);
        }
        copy.add(node);
    }
    for edge in graph.petgraph().raw_edges() {
        copy.connect(edge.source(), edge.target(), edge.weight.clone());
    }
    copy
}

#[test]
fn every_model_of_the_zoo_builds_valid_graphs_in_every_setting() {
    for name in zoo::plain_names() {
        let model = zoo::gpt(name).unwrap();
        for (lm_head, embedding) in [(true, true), (true, false), (false, true), (false, false)] {
            let generation = Generation {
                prompt_tokens: 17,
                generated_tokens: 3,
                batch: 2,
                lm_head,
                embedding,
                ..Default::default()
            };
            for step in generation.steps() {
                let graph = model.step_graph(&step, &generation);
                graph.validate().unwrap_or_else(|e| panic!("{name}: {e}"));
                assert_eq!(graph.find("lm_head").is_some(), lm_head);
                assert_eq!(graph.find("token_embedding").is_some(), embedding);
                let order = graph.topological().unwrap();
                assert!(order.windows(2).all(|pair| pair[0] < pair[1]), "{name}: built in an order of execution");
            }
        }
    }
}

#[test]
fn a_wrong_weight_shape_names_node_expected_and_found() {
    let graph = small().step_graph(&decode(5), &Generation::default());
    let bad = changed(&graph, "layer3.ffn_up", |n| n.weights[0].shape = vec![768, 3072]);
    assert_eq!(
        bad.validate().unwrap_err().to_string(),
        "operator `layer3.ffn_up`: weight `layer3.ffn_up.weight` has shape [768, 3072], expected [3072, 768]"
    );
}

#[test]
fn a_wrong_activation_shape_names_node_expected_and_found() {
    let mut graph = Graph::new();
    let a = graph.add(OperatorNode { inputs: vec![activation("x", &[1, 1, 8]); 2], ..residual("a", 8) });
    let b = graph.add(residual("b", 16));
    graph.connect(a, b, activation("a", &[1, 1, 8]));
    graph.connect(a, b, activation("a", &[1, 1, 8]));
    assert_eq!(
        graph.validate().unwrap_err().to_string(),
        "operator `b`: first term `a` has shape [1, 1, 8], expected [1, 1, 16]"
    );
}

#[test]
fn every_single_extent_that_is_changed_is_found() {
    let model = zoo::gpt("llama2-7b").unwrap();
    let generation = Generation { batch: 2, ..Default::default() };
    let graph = GptConfig { layers: 1, ..model }.step_graph(&decode(9), &generation);
    let names: Vec<String> = graph.operators().map(|n| n.name.clone()).collect();
    for name in &names {
        let node = graph.operator(graph.find(name).unwrap()).unwrap().clone();
        for which in 0..3 {
            let tensors = [&node.inputs, &node.weights, &node.outputs][which];
            for (i, tensor) in tensors.iter().enumerate() {
                for d in 0..tensor.shape.len() {
                    let bad = changed(&graph, name, |n| {
                        let list = match which {
                            0 => &mut n.inputs,
                            1 => &mut n.weights,
                            _ => &mut n.outputs,
                        };
                        list[i].shape[d] += 1;
                    });
                    let error = bad.validate().unwrap_err().to_string();
                    assert!(error.contains(&format!("operator `{name}`")), "{name} {} {d}: {error}", tensor.name);
                }
            }
        }
    }
}

#[test]
fn wrong_kinds_types_numbers_and_names_are_found() {
    let graph = small().step_graph(&decode(5), &Generation::default());
    type Change = fn(&mut OperatorNode);
    let cases: [(&str, Change, &str); 8] = [
        ("layer0.qkv", |n| n.weights.truncate(1), "has 1 weights, expected 2"),
        ("layer0.qkv", |n| n.outputs.clear(), "has 0 outputs, expected 1"),
        ("layer0.qkv", |n| n.dtype = DataType::Int8, "input `layer0.attention_norm` is bf16, expected int8"),
        ("layer0.ffn_up", |n| n.weights[0].kind = TensorKind::Activation, "is Activation, expected Weight"),
        ("token_embedding", |n| n.inputs[0].dtype = DataType::Bf16, "is bf16, expected int32"),
        ("layer0.scores", |n| n.op = n.op.with_context(6), "has shape [1, 12, 5, 64], expected [1, 12, 6, 64]"),
        ("layer0.scores", |n| n.op = n.op.with_context(0), "a context of 0 cannot hold the step's own 1 tokens"),
        ("layer0.softmax", |n| n.batch = 5, "12 rows are not a multiple of 5 sequences x 1 tokens"),
    ];
    for (name, change, message) in cases {
        let error = changed(&graph, name, change).validate().unwrap_err().to_string();
        assert!(error.contains(message) && error.contains(name), "{name}: {error}");
    }
    let twice = changed(&graph, "layer1.qkv", |n| n.name = "layer0.qkv".into());
    assert!(matches!(twice.validate(), Err(GraphError::Duplicate { node }) if node == "layer0.qkv"));
    let uneven = changed(&graph, "layer2.scores", |n| {
        n.op = Op::AttentionScores { heads: 12, kv_heads: 5, head_dim: 64, context: 5, causal: true, window: 0 };
    });
    assert!(uneven.validate().unwrap_err().to_string().contains("12 query heads cannot share 5 key heads evenly"));
}

#[test]
fn an_edge_must_carry_what_its_producer_makes() {
    let mut graph = Graph::new();
    let a = graph.add(OperatorNode { inputs: vec![activation("x", &[1, 1, 8]); 2], ..residual("a", 8) });
    let b = graph.add(OperatorNode { inputs: vec![activation("x", &[1, 1, 8])], ..residual("b", 8) });
    graph.connect(a, b, activation("nothing", &[1, 1, 8]));
    let error = graph.validate().unwrap_err();
    assert_eq!(error.to_string(), "operator `a`: does not produce `nothing` [1, 1, 8], which an edge carries to `b`");
}

#[test]
fn a_cycle_is_an_error_that_names_its_nodes() {
    let mut graph = Graph::new();
    let first = graph.add(OperatorNode { inputs: vec![activation("x", &[1, 1, 8]); 2], ..residual("first", 8) });
    let [a, b, c] = ["a", "b", "c"].map(|name| graph.add(residual(name, 8)));
    for (from, to) in [(first, a), (a, b), (b, c), (c, a), (first, c)] {
        let name = graph.operator(from).unwrap().name.clone();
        graph.connect(from, to, activation(&name, &[1, 1, 8]));
    }
    assert_eq!(graph.validate().unwrap_err().to_string(), "the graph has a cycle through `a`, `b`, `c`");
    let mut own = Graph::new();
    let a = own.add(residual("a", 8));
    own.connect(a, a, activation("a", &[1, 1, 8]));
    assert_eq!(own.topological().unwrap_err(), GraphError::Cycle { nodes: vec!["a".into()] });
}

#[test]
fn counts_beyond_64_bits_are_an_error_and_no_panic() {
    let huge = 1 << 40;
    let mut graph = Graph::new();
    let input = activation("x", &[1, 1, huge]);
    graph.add(OperatorNode {
        op: Op::Linear { in_features: huge, out_features: huge, bias: false },
        inputs: vec![input],
        weights: vec![Tensor::new("w", [huge, huge], DataType::Bf16, TensorKind::Weight)],
        ..residual("huge", huge)
    });
    assert_eq!(graph.validate(), Err(GraphError::TooLarge { node: "huge".into() }));
    assert_eq!(graph.operators().next().unwrap().flops(), u64::MAX);
}

#[test]
fn moving_the_context_gives_the_graph_built_for_it() {
    let model = small();
    let generation = Generation { batch: 3, ..Default::default() };
    let mut moved = model.step_graph(&decode(2), &generation);
    for context in [3, 77, 1024] {
        moved.set_context(context);
        moved.validate().unwrap();
        let built = model.step_graph(&decode(context), &generation);
        assert!(moved.operators().eq(built.operators()));
        let edges = |g: &Graph| -> Vec<Tensor> { g.petgraph().edge_weights().cloned().collect() };
        assert_eq!(edges(&moved), edges(&built));
    }
}

#[test]
fn layers_are_alike_and_equal_the_template() {
    let model = zoo::gpt("pythia-1.4b").unwrap();
    let generation = Generation::default();
    let template = model.layer_operators(&decode(100), &generation);
    let graph = model.step_graph(&decode(100), &generation);
    for layer in 0..model.layers {
        let of_layer: Vec<&OperatorNode> = graph.operators().filter(|n| n.layer == Some(layer)).collect();
        assert_eq!(of_layer.len(), template.len());
        for (node, like) in of_layer.iter().zip(&template) {
            assert_eq!(node.name, format!("layer{layer}.{}", like.name));
            assert_eq!((&node.label, node.op, node.flops()), (&like.label, like.op, like.flops()));
        }
    }
}

#[test]
fn counts_agree_with_the_tensors_at_every_node() {
    for name in ["gpt2-medium", "llama2-7b", "pythia-1.4b"] {
        let model = zoo::gpt(name).unwrap();
        let generation = Generation { prompt_tokens: 11, batch: 3, ..Default::default() };
        let graph = model.step_graph(&generation.step(0).unwrap(), &generation);
        for index in graph.petgraph().node_indices() {
            let node = graph.operator(index).unwrap();
            let bytes = |tensors: &[&Tensor], cache: bool| -> u64 {
                tensors.iter().filter(|t| (t.kind == TensorKind::KvCache) == cache).map(|t| t.bytes()).sum()
            };
            let inputs = graph.inputs(index);
            let outputs: Vec<&Tensor> = node.outputs.iter().collect();
            assert_eq!(node.activation_bytes_in(), bytes(&inputs, false), "{}", node.name);
            assert_eq!(node.activation_bytes_out(), bytes(&outputs, false), "{}", node.name);
            assert_eq!(node.kv_bytes_read(), bytes(&inputs, true), "{}", node.name);
            assert_eq!(node.weight_bytes(), node.weights.iter().map(Tensor::bytes).sum::<u64>(), "{}", node.name);
        }
        let written: u64 = graph.operators().map(OperatorNode::kv_bytes_written).sum();
        assert_eq!(written, model.kv_bytes_per_token() * 11 * 3);
    }
}

/// A decode step costs two operations per multiplied parameter, and attention 4 x attention width per layer and context.
#[test]
fn decode_flops_follow_two_per_parameter_plus_attention() {
    for name in zoo::plain_names() {
        let model = zoo::gpt(name).unwrap();
        let products: u64 = model.weight_matrices().iter().map(|m| 2 * m.shape[0] * m.shape[1]).sum();
        for context in [1, 1000] {
            let graph = model.step_graph(&decode(context), &Generation::default());
            let of = |kinds: &[&str]| -> u64 {
                graph.operators().filter(|n| kinds.contains(&n.op.kind())).map(OperatorNode::flops).sum()
            };
            let attention = 4 * u64::from(model.layers) * model.attention_width() * context;
            assert_eq!(of(&["attention_scores", "attention_values"]), attention, "{name}");
            let biases: u64 = model.weight_matrices().iter().filter(|m| m.bias).map(|m| m.shape[0]).sum();
            assert_eq!(of(&["linear"]), products + biases, "{name}");
            // Norms, softmax, activations and residuals are the small rest.
            let law = (products + attention) as f64;
            let excess = graph.flops() as f64 / law - 1.0;
            assert!((0.0..0.012).contains(&excess), "{name} at {context}: {excess}");
        }
    }
}

/// A causal prompt attends to the same pairs as its tokens one by one, and multiplies the same weights.
#[test]
fn a_prefill_attends_as_its_tokens_one_by_one() {
    let model = small();
    let generation = Generation { lm_head: false, ..Default::default() };
    let prompt = 23;
    let whole = model.step_graph(&Step::prefill(1, prompt), &generation);
    let one_by_one = |label: &str| -> u64 {
        (1..=prompt)
            .map(|context| {
                let graph = model.step_graph(&decode(context), &generation);
                graph.operators().filter(|n| n.label == label).map(OperatorNode::flops).sum::<u64>()
            })
            .sum()
    };
    for label in ["qkv projection", "attention scores", "attention softmax", "attention values", "ffn activation"] {
        let at_once: u64 = whole.operators().filter(|n| n.label == label).map(OperatorNode::flops).sum();
        assert_eq!(at_once, one_by_one(label), "{label}");
    }
}

#[test]
fn the_cache_grows_by_one_token_a_step() {
    let model = zoo::gpt("gpt3-xl").unwrap();
    let generation = Generation { prompt_tokens: 4, generated_tokens: 6, batch: 2, ..Default::default() };
    let reads: Vec<u128> =
        generation.steps().map(|step| model.step_graph(&step, &generation).kv_bytes_read()).collect();
    let per_token = u128::from(model.kv_bytes_per_token()) * 2;
    assert_eq!(per_token, 2 * 2 * 2 * 24 * 2048);
    assert_eq!(reads, (4..10).map(|context| context * per_token).collect::<Vec<_>>());
}

/// How often collectives of a kind come in a layer's graph.
fn collectives(graph: &banksia_workloads::StepGraph, place: Place, kind: Communication) -> usize {
    let bodies = graph.regions.iter().filter(|r| r.place == place).take(1).flat_map(|r| r.body.operators());
    bodies.filter(|n| matches!(n.op, Op::Collective { what, .. } if what == kind)).count()
}

fn tensor_parallel(tp: u32) -> Sharding {
    Sharding { tp, expert_tp: tp, ..Sharding::WHOLE }
}

fn shard_of(model: &str, sharding: Sharding, experts: Vec<u32>) -> Shard {
    let model = zoo::load(model).expect("embedded");
    let span = Span { first: 0, layers: model.layers() };
    Shard::new(&model, span, sharding, experts).expect("can be divided")
}

#[test]
#[allow(clippy::panic)]
fn shards_of_every_model_that_can_be_divided_are_valid_graphs_with_a_share_of_its_products() {
    let generation = Generation::default();
    let (mut divided, mut sound) = (0, 0);
    for name in zoo::names() {
        let model = zoo::load(name).expect("embedded");
        let span = Span { first: 0, layers: model.layers() };
        let whole = Shard::new(&model, span, Sharding::WHOLE, Vec::new()).expect("nothing to divide");
        for (tp, sequence) in [(2, false), (4, false), (4, true)] {
            let Ok(shard) = Shard::new(&model, span, Sharding { sequence, ..tensor_parallel(tp) }, Vec::new()) else {
                continue;
            };
            divided += 1;
            for step in [Step::prefill(2, 32), Step::decode(4, 64)] {
                let own = shard.graph(&step, &generation);
                // Biases of products of four bits are of another type than their matrices, which the check of a whole graph refuses too.
                if whole.graph(&step, &generation).validate().is_ok() {
                    own.validate().unwrap_or_else(|e| panic!("{name} over {tp}: {e}"));
                    sound += 1;
                }
                // Attention of all ranks is the whole's: heads are divided and nothing is computed twice.
                let scores = |g: &banksia_workloads::StepGraph| -> u128 {
                    let of = g.operators().filter(|(n, _)| n.op.kind() == "attention_values");
                    of.map(|(n, repeat)| u128::from(n.flops()) * u128::from(repeat)).sum()
                };
                assert_eq!(scores(&own) * u128::from(tp), scores(&whole.graph(&step, &generation)), "{name} over {tp}");
                assert!(own.flops() * u128::from(tp) >= whole.graph(&step, &generation).flops(), "{name} over {tp}");
            }
            let all = u128::from(shard.weight_bytes()) * u128::from(tp);
            assert!(all >= u128::from(whole.weight_bytes()), "{name} over {tp}: no weight is lost");
        }
    }
    assert!(divided > 20 && sound > 40, "{divided} shards, {sound} graphs");
}

#[test]
fn a_whole_shard_is_the_model() {
    let model = zoo::load("llama3.1-8b").expect("embedded");
    let shard = shard_of("llama3.1-8b", Sharding::WHOLE, Vec::new());
    let (step, generation) = (Step::decode(4, 100), Generation::default());
    let names = |g: &banksia_workloads::StepGraph| -> Vec<OperatorNode> {
        g.regions.iter().flat_map(|r| r.body.operators().cloned()).collect()
    };
    assert_eq!(names(&shard.graph(&step, &generation)), names(&model.graph(&step, &generation)));
    assert_eq!(shard.weight_bytes(), model.weight_bytes());
}

#[test]
fn a_layer_sums_twice_or_scatters_and_gathers_twice() {
    let generation = Generation::default();
    let shard = shard_of("llama3.1-8b", tensor_parallel(2), Vec::new());
    let graph = shard.graph(&Step::decode(4, 100), &generation);
    assert_eq!(collectives(&graph, Place::Layers, Communication::AllReduce), 2);
    assert_eq!(collectives(&graph, Place::Before, Communication::AllReduce), 1);
    assert_eq!(collectives(&graph, Place::After, Communication::GatherFeatures), 1);
    let sequence = shard_of("llama3.1-8b", Sharding { sequence: true, ..tensor_parallel(2) }, Vec::new());
    let graph = sequence.graph(&Step::prefill(1, 64), &generation);
    assert_eq!(collectives(&graph, Place::Layers, Communication::AllReduce), 0);
    assert_eq!(collectives(&graph, Place::Layers, Communication::ReduceScatter), 2);
    assert_eq!(collectives(&graph, Place::Layers, Communication::AllGather), 2);
    // A token by itself is not divided.
    let graph = sequence.graph(&Step::decode(1, 64), &generation);
    assert_eq!(collectives(&graph, Place::Layers, Communication::AllReduce), 2);
}

#[test]
fn experts_of_ranks_are_summed_or_exchanged() {
    let generation = Generation::default();
    let same = Sharding { tp: 4, ep: 4, expert_tp: 1, ..Sharding::WHOLE };
    let apart = Sharding { ep: 4, exchanging: 4, ..Sharding::WHOLE };
    let step = Step::decode(32, 100);
    let model = zoo::load("mixtral-8x7b").expect("embedded");
    for (sharding, rows) in [(same, 32 * 2), (apart, 4 * 32 * 2)] {
        let of = |rank: u32| shard_of("mixtral-8x7b", sharding, vec![2 * rank, 2 * rank + 1]).graph(&step, &generation);
        let sent: u64 = (0..4)
            .map(|rank| {
                let graph = of(rank);
                graph.validate().expect("sound");
                let up = graph.operators().find(|(n, _)| n.op.kind() == "expert_linear").map(|(n, _)| n.load.to_vec());
                up.expect("has experts").iter().sum::<u64>()
            })
            .sum();
        assert_eq!(sent, rows, "each token's rows are some rank's");
        let graph = of(0);
        let exchanged = collectives(&graph, Place::Layers, Communication::Dispatch);
        assert_eq!(exchanged, usize::from(sharding.exchanging > 1));
        assert_eq!(collectives(&graph, Place::Layers, Communication::Return), exchanged);
        let sums = collectives(&graph, Place::Layers, Communication::AllReduce);
        assert_eq!(sums, if sharding.tp > 1 { 2 } else { 0 });
    }
    let quarter = shard_of("mixtral-8x7b", apart, vec![0, 1]).weight_bytes();
    assert!(quarter < model.weight_bytes() / 3, "{quarter}");
}

#[test]
fn what_cannot_be_divided_says_what() {
    let model = zoo::load("llama3.1-8b").expect("embedded");
    let span = Span { first: 0, layers: model.layers() };
    let error = Shard::new(&model, span, tensor_parallel(3), Vec::new()).expect_err("32 heads over 3");
    assert!(error.to_string().contains("query heads (32)"), "{error}");
    // Keys of eight heads are on two ranks each.
    let sixteen = Shard::new(&model, span, tensor_parallel(16), Vec::new()).expect("32 heads over 16");
    assert!(sixteen.model().kv_bytes_per_token() * 8 == model.kv_bytes_per_token());
}
