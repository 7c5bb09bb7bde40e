//! What comes before the first layer and after the last.

use super::flow::{Flow, INDEX, Part, Value};
use crate::activation::ActivationKind;
use crate::model::{Embed, Norm};
use crate::op::Op;
use crate::tensor::{Tensor, TensorKind};

impl Flow<'_> {
    /// Looks tokens up; `prefix` begins the names of another stack's.
    pub(super) fn embed(&mut self, embed: &Embed, prefix: &str) -> Value {
        let own = if embed.width == 0 { self.width } else { embed.width };
        let label = |what: &str| format!("{}{what}", prefix.replace('_', " "));
        let mut hidden = if embed.vocab == 0 {
            self.outside(&format!("{prefix}hidden"))
        } else {
            let shape = [self.batch, self.tokens];
            let indices = Value {
                node: None,
                tensor: Tensor::new(format!("{prefix}token_indices"), shape, INDEX, TensorKind::Input),
            };
            // One table where both stacks share it.
            let name =
                if embed.shared { "token_embedding.weight".into() } else { format!("{prefix}token_embedding.weight") };
            let table = Tensor::new(name, [embed.vocab, own], self.types().activations, TensorKind::Weight);
            let op = Op::Embedding { vocab: embed.vocab, width: own };
            let name = format!("{prefix}token_embedding");
            self.plain(&name, &label("token embedding"), op, &[&indices], vec![table], own)
        };
        for (rows, name) in [(embed.position_rows, "position_embedding"), (embed.type_rows, "type_embedding")] {
            if rows > 0 {
                let name = format!("{prefix}{name}");
                let width = hidden.tensor.shape.last().copied().unwrap_or(own);
                let table = self.vector(&format!("{name}.weight"), [rows, width]);
                let op = Op::PositionEmbedding { positions: rows, width };
                hidden = self.plain(&name, &name.replace('_', " "), op, &[&hidden], vec![table], width);
            }
        }
        if let Some(norm) = embed.norm {
            hidden = self.norm(&format!("{prefix}embedding_norm"), &label("embedding norm"), norm, &hidden);
        }
        if own != self.width && embed.vocab > 0 {
            let name = format!("{prefix}embedding_projection");
            hidden = self.linear(&name, &label("embedding projection"), Part::Head, &hidden, [self.width, own], false);
        }
        hidden
    }

    /// The norm, the vocabulary and the choice of a token, for the last token of each sequence.
    pub(super) fn head(&mut self, mut hidden: Value, lm_head: bool) {
        let head = &self.model.head;
        let sequences = self.runs.iter().fold(0u64, |sum, r| sum.saturating_add(r.sequences));
        let verified = self.phase == crate::generation::Phase::Decode;
        match self.runs {
            // Each token of a draft is sampled from.
            [run] if verified && run.new > 1 => {}
            [run] => (self.batch, self.tokens) = (run.sequences, run.new.min(1)),
            _ => (self.batch, self.tokens) = (1, sequences),
        }
        if let [batch, tokens, ..] = hidden.tensor.shape.as_mut_slice() {
            (*batch, *tokens) = (self.batch, self.tokens);
        }
        if let Some(norm) = head.norm {
            hidden = self.norm("final_norm", "final norm", norm, &hidden);
        }
        if !lm_head || head.vocab == 0 {
            return;
        }
        let own = if self.model.embed.width == 0 { self.width } else { self.model.embed.width };
        if head.transform {
            hidden = self.linear("head_transform", "head transform", Part::Head, &hidden, [own, self.width], true);
            hidden = self.activated("head_activation", "head activation", ActivationKind::Gelu, &hidden);
            hidden = self.norm("head_norm", "head norm", head.norm.unwrap_or(Norm::LayerNorm), &hidden);
        } else if own != self.width {
            let shape = [own, self.width];
            hidden = self.linear("head_projection", "head projection", Part::Head, &hidden, shape, false);
        }
        let logits = if head.tied {
            let format = self.format(Part::Head);
            let table = Tensor::new("token_embedding.weight", [head.vocab, own], format.dtype, TensorKind::Weight);
            let mut weights = vec![table];
            if head.bias {
                weights.push(self.vector("lm_head.bias", [head.vocab]));
            }
            let op = Op::Linear { in_features: own, out_features: head.vocab, bias: head.bias };
            let tensor = self.activation(self.name("lm_head"), [self.batch, self.tokens, head.vocab]);
            let node = self.push_as("lm_head", "lm head", op, &[&hidden], weights, vec![tensor.clone()], format, &[]);
            Value { node: Some(node), tensor }
        } else {
            self.linear("lm_head", "lm head", Part::Head, &hidden, [head.vocab, own], head.bias)
        };
        let logits = match head.soft_cap {
            true => self.activated("logit_cap", "logit cap", ActivationKind::Tanh, &logits),
            false => logits,
        };
        let chosen = Tensor::new("argmax", [self.batch, self.tokens], INDEX, TensorKind::Activation);
        self.push("argmax", "argmax", Op::ArgMax { vocab: head.vocab }, &[&logits], Vec::new(), vec![chosen]);
    }
}
