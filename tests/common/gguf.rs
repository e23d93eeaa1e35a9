//! Writer of valid and invalid GGUF files, independent of the crate's reader, and tiny models.

use tablm::formats::Format;

use super::random::Random;

/// Type numbers of metadata values.
pub mod kind {
    pub const U8: u32 = 0;
    pub const I8: u32 = 1;
    pub const U16: u32 = 2;
    pub const I16: u32 = 3;
    pub const U32: u32 = 4;
    pub const I32: u32 = 5;
    pub const F32: u32 = 6;
    pub const BOOL: u32 = 7;
    pub const STRING: u32 = 8;
    pub const ARRAY: u32 = 9;
    pub const U64: u32 = 10;
    pub const I64: u32 = 11;
    pub const F64: u32 = 12;
}

/// A tensor to write.
#[derive(Debug, Clone)]
pub struct Tensor {
    pub name: Vec<u8>,
    /// Innermost axis first, as in the file.
    pub axes: Vec<u64>,
    pub type_number: u32,
    /// Relative to the tensor data; `None` places the tensor after the previous one.
    pub offset: Option<u64>,
    pub data: Vec<u8>,
}

/// Contents of a GGUF file to write.
#[derive(Debug, Clone)]
pub struct Gguf {
    pub version: u32,
    pub alignment: u64,
    /// Keys, and their values as bytes that begin with the type number.
    pub keys: Vec<(Vec<u8>, Vec<u8>)>,
    pub tensors: Vec<Tensor>,
    /// Tensor count in the header, if not the actual one.
    pub tensor_count: Option<u64>,
    /// Key count in the header, if not the actual one.
    pub key_count: Option<u64>,
}

/// Bytes of a string: length, then text.
pub fn string(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

/// Bytes of an array value: type number, element type, count, elements.
pub fn array(element: u32, count: u64, elements: &[u8]) -> Vec<u8> {
    [&kind::ARRAY.to_le_bytes()[..], &element.to_le_bytes(), &count.to_le_bytes(), elements]
        .concat()
}

impl Default for Gguf {
    fn default() -> Self {
        Self::new()
    }
}

impl Gguf {
    /// An empty file of version 3.
    pub fn new() -> Gguf {
        let (keys, tensors) = (Vec::new(), Vec::new());
        Gguf { version: 3, alignment: 32, keys, tensors, tensor_count: None, key_count: None }
    }

    /// Adds a key whose value is `bytes`, which begin with the type number.
    pub fn raw(mut self, key: &str, bytes: Vec<u8>) -> Gguf {
        self.keys.push((key.as_bytes().to_vec(), bytes));
        self
    }

    /// Adds a key with a value of a type.
    pub fn number(self, key: &str, kind: u32, bytes: &[u8]) -> Gguf {
        self.raw(key, [&kind.to_le_bytes(), bytes].concat())
    }

    pub fn u32(self, key: &str, value: u32) -> Gguf {
        self.number(key, kind::U32, &value.to_le_bytes())
    }

    pub fn f32(self, key: &str, value: f32) -> Gguf {
        self.number(key, kind::F32, &value.to_le_bytes())
    }

    pub fn bool(self, key: &str, value: bool) -> Gguf {
        self.number(key, kind::BOOL, &[u8::from(value)])
    }

    pub fn str(self, key: &str, value: impl AsRef<[u8]>) -> Gguf {
        let bytes = string(value.as_ref());
        self.number(key, kind::STRING, &bytes)
    }

    pub fn strings<S: AsRef<[u8]>>(self, key: &str, values: &[S]) -> Gguf {
        let elements: Vec<u8> = values.iter().flat_map(|value| string(value.as_ref())).collect();
        self.raw(key, array(kind::STRING, values.len() as u64, &elements))
    }

    pub fn i32s(self, key: &str, values: &[i32]) -> Gguf {
        let elements: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.raw(key, array(kind::I32, values.len() as u64, &elements))
    }

    pub fn f32s(self, key: &str, values: &[f32]) -> Gguf {
        let elements: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.raw(key, array(kind::F32, values.len() as u64, &elements))
    }

    /// Adds a tensor; `shape` is outermost axis first, `data` as stored in `format`.
    pub fn tensor(mut self, name: &str, format: Format, shape: &[usize], data: Vec<u8>) -> Gguf {
        let columns = shape[shape.len() - 1];
        let rows: usize = shape[..shape.len() - 1].iter().product();
        assert_eq!(data.len(), rows * format.row_bytes(columns).unwrap(), "{name}");
        self.tensors.push(Tensor {
            name: name.as_bytes().to_vec(),
            axes: shape.iter().rev().map(|&axis| axis as u64).collect(),
            type_number: format.gguf_type().unwrap(),
            offset: None,
            data,
        });
        self
    }

    /// Removes a tensor.
    pub fn without(mut self, name: &str) -> Gguf {
        self.tensors.retain(|tensor| tensor.name != name.as_bytes());
        self
    }

    /// Removes a key.
    pub fn without_key(mut self, key: &str) -> Gguf {
        self.keys.retain(|(other, _)| other != key.as_bytes());
        self
    }

    /// Changes the tensor of that name.
    pub fn change(mut self, name: &str, change: impl FnOnce(&mut Tensor)) -> Gguf {
        change(self.tensors.iter_mut().find(|tensor| tensor.name == name.as_bytes()).unwrap());
        self
    }

    /// Bytes of the file, and the length of the header without padding.
    pub fn bytes_and_header(&self) -> (Vec<u8>, usize) {
        let mut file = b"GGUF".to_vec();
        file.extend(self.version.to_le_bytes());
        file.extend(self.tensor_count.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        file.extend(self.key_count.unwrap_or(self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            file.extend(string(key));
            file.extend(value);
        }
        let mut data = Vec::new();
        for tensor in &self.tensors {
            let offset = tensor.offset.unwrap_or(data.len() as u64);
            file.extend(string(&tensor.name));
            file.extend((tensor.axes.len() as u32).to_le_bytes());
            file.extend(tensor.axes.iter().flat_map(|axis| axis.to_le_bytes()));
            file.extend(tensor.type_number.to_le_bytes());
            file.extend(offset.to_le_bytes());
            data.extend(&tensor.data);
            data.resize(data.len().next_multiple_of(self.alignment as usize), 0);
        }
        let header = file.len();
        file.resize(header.next_multiple_of(self.alignment as usize), 0);
        file.extend(data);
        (file, header)
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes_and_header().0
    }
}

/// Values in F32, as stored.
pub fn f32_bytes(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

/// The formats that GGUF has.
pub fn formats() -> impl Iterator<Item = Format> {
    Format::ALL.into_iter().filter(|format| format.gguf_type().is_some())
}

/// Random stored rows in a format of GGUF: weights of a magnitude of about `size`, finite scales.
pub fn random_rows(
    random: &mut Random,
    format: Format,
    rows: usize,
    columns: usize,
    size: f32,
) -> Vec<u8> {
    let half = |value: f32| half::f16::from_f32(value).to_le_bytes();
    let rules = format.rules();
    let blocks = rows * columns / rules.block_weights();
    let mut data = Vec::with_capacity(blocks * rules.block_bytes());
    for _ in 0..blocks {
        let value = size * random.uniform();
        // Largest weight of a block with scales of 1, and byte offsets of the scales.
        let (levels, scale_offsets): (f32, &[usize]) = match format {
            Format::F32 => {
                data.extend(value.to_le_bytes());
                continue;
            }
            Format::F16 => {
                data.extend(half(value));
                continue;
            }
            Format::BF16 => {
                data.extend(&value.to_le_bytes()[2..]);
                continue;
            }
            Format::Q8_0 => (127.0, &[0]),
            Format::Q4_0 => (8.0, &[0]),
            Format::Q4_1 => (15.0, &[0, 2]),
            Format::Q5_0 => (16.0, &[0]),
            Format::Q5_1 => (31.0, &[0, 2]),
            Format::Q4_K => (15.0 * 63.0, &[0, 2]),
            Format::Q5_K => (31.0 * 63.0, &[0, 2]),
            Format::Q6_K => (32.0 * 127.0, &[208]),
            Format::Q2_K => (3.0 * 15.0, &[80, 82]),
            Format::Q3_K => (4.0 * 32.0, &[108]),
            Format::Q1_0 => (1.0, &[0]),
            Format::Q2_0 => (2.0, &[0]),
            Format::IQ2_XXS | Format::IQ2_XS | Format::IQ2_S => (43.0 * 31.0 / 8.0, &[0]),
            Format::IQ3_XXS => (62.0 * 31.0 / 4.0, &[0]),
            Format::IQ3_S => (15.0 * 31.0, &[0]),
            Format::IQ4_NL => (127.0, &[0]),
            Format::IQ4_XS => (127.0 * 32.0, &[0]),
            Format::MXFP4 => {
                let exponent = (value.abs() / 6.0).to_bits() >> 23;
                data.push(exponent as u8);
                data.extend((0..16).map(|_| random.bits() as u8));
                continue;
            }
            Format::NVFP4 => {
                // E4M3: exponent and mantissa of an f32, with another bias.
                let scale = ((value.abs() / 6.0).max(0.02).to_bits() >> 20) - (120 << 3);
                data.extend([scale as u8; 4]);
                data.extend((0..32).map(|_| random.bits() as u8));
                continue;
            }
            _ => panic!("GGUF has no {format:?}"),
        };
        let mut block: Vec<u8> = (0..rules.block_bytes()).map(|_| random.bits() as u8).collect();
        for &place in scale_offsets {
            let scale = size / levels * (0.75 + 0.25 * random.uniform());
            block[place..place + 2].copy_from_slice(&half(scale));
        }
        data.extend(block);
    }
    data
}

/// Token count of [`byte_tokenizer`].
pub const BYTE_TOKENS: usize = 260;

/// Adds a vocabulary of the 256 bytes and four special tokens.
pub fn byte_tokenizer(file: Gguf) -> Gguf {
    let special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<unused>"];
    let mut tokens: Vec<String> = special.iter().map(|token| (*token).to_owned()).collect();
    tokens.extend(byte_letters().iter().map(char::to_string));
    let types: Vec<i32> =
        (0..tokens.len()).map(|id| if id < special.len() { 3 } else { 1 }).collect();
    file.str("tokenizer.ggml.model", "gpt2")
        .str("tokenizer.ggml.pre", "smollm")
        .strings("tokenizer.ggml.tokens", &tokens)
        .i32s("tokenizer.ggml.token_type", &types)
        .strings::<&str>("tokenizer.ggml.merges", &[])
        .u32("tokenizer.ggml.bos_token_id", 1)
        .u32("tokenizer.ggml.eos_token_id", 2)
        .bool("tokenizer.ggml.add_bos_token", false)
}

/// A complete random llama with matrices in `format` and [`byte_tokenizer`]: two layers, four query
/// heads, two key/value heads. `hidden` is a multiple of 64 and of the format's block.
pub fn tiny_llama(hidden: usize, format: Format) -> Gguf {
    let (heads, kv_heads, ffn, layers) = (4, 2, 2 * hidden, 2);
    let mut file = byte_tokenizer(Gguf::new())
        .str("general.architecture", "llama")
        .str("general.name", "tiny")
        .u32("llama.block_count", layers)
        .u32("llama.context_length", 256)
        .u32("llama.embedding_length", hidden as u32)
        .u32("llama.feed_forward_length", ffn as u32)
        .u32("llama.attention.head_count", heads)
        .u32("llama.attention.head_count_kv", kv_heads)
        .f32("llama.rope.freq_base", 10_000.0)
        .f32("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .u32("llama.rope.dimension_count", hidden as u32 / heads)
        .u32("llama.vocab_size", BYTE_TOKENS as u32);
    let mut random = Random::new(7);
    let size = 1.7 / (hidden as f32).sqrt();
    let mut matrix = |file: Gguf, name: String, rows: usize, columns: usize| {
        let data = random_rows(&mut random, format, rows, columns, size);
        file.tensor(&name, format, &[rows, columns], data)
    };
    file = matrix(file, "token_embd.weight".to_owned(), BYTE_TOKENS, hidden);
    let kv = hidden / heads as usize * kv_heads as usize;
    for layer in 0..layers {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        for (part, rows, columns) in [
            ("attn_q", hidden, hidden),
            ("attn_k", kv, hidden),
            ("attn_v", kv, hidden),
            ("attn_output", hidden, hidden),
            ("ffn_gate", ffn, hidden),
            ("ffn_up", ffn, hidden),
            ("ffn_down", hidden, ffn),
        ] {
            file = matrix(file, name(part), rows, columns);
        }
        for part in ["attn_norm", "ffn_norm"] {
            file = file.tensor(&name(part), Format::F32, &[hidden], f32_bytes(vec![1.0; hidden]));
        }
    }
    file.tensor("output_norm.weight", Format::F32, &[hidden], f32_bytes(vec![1.0; hidden]))
}

/// The letter that stands for each byte in byte-level vocabularies: printable Latin-1 for itself,
/// letters from U+0100 on for the other bytes.
pub fn byte_letters() -> Vec<char> {
    let mut next = 256;
    let letter = |byte: u32| {
        let printable = matches!(byte, 33..=126 | 161..=172 | 174..=255);
        let code = if printable { byte } else { next };
        next += u32::from(!printable);
        char::from_u32(code).unwrap()
    };
    (0..256).map(letter).collect()
}
