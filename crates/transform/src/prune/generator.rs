//! Random graphs for tests: convolutional trunks of many kinds of blocks, heads that are flat, pooled or recurrent. What channels
//! are worth is of no interest here, only how they hang together.

use plimsoll_onnx::{Model, Tensor, attr};

use super::testing::Builder;

/// How many kinds of blocks there are.
pub(super) const BLOCKS: usize = 29;
/// How many kinds of heads.
pub(super) const HEADS: usize = 8;

/// A trunk in the making: a value of [1, channels, side, side].
pub(super) struct Trunk {
    pub(super) b: Builder,
    pub(super) x: String,
    pub(super) channels: usize,
    side: usize,
}

impl Trunk {
    pub(super) fn new(seed: u64) -> Self {
        let mut b = Builder::new(seed, &[1, 3, 8, 8]);
        b.opset = 17;
        let channels = 4 + b.dice.below(5);
        let x = b.conv("x", 3, channels, 3);
        Self { b, x, channels, side: 8 }
    }

    /// One block of a kind; what does not fit the trunk becomes an activation.
    pub(super) fn block(&mut self, kind: usize) {
        let (x, c, side) = (self.x.clone(), self.channels, self.side);
        let to = 3 + self.b.dice.below(6);
        let b = &mut self.b;
        let axis = |a: i64| vec![attr::from_int("axis", a)];
        let mut channels = c;
        self.x = match kind {
            0 => {
                channels = to;
                b.conv(&x, c, to, 3)
            }
            1 => {
                let y = b.conv(&x, c, to, 1);
                let y = b.add("Sigmoid", &[&y], vec![]);
                let y = b.conv(&y, to, c, 3);
                b.add("Add", &[&y, &x], vec![])
            }
            2 => {
                let params: Vec<String> = (0..3).map(|_| b.weight(&[c])).collect();
                let spread: Vec<f32> = (0..c).map(|i| 0.5 + i as f32 / 8.0).collect();
                let spread = b.hold(&Tensor::vector(&spread));
                b.add("BatchNormalization", &[&x, &params[0], &params[1], &params[2], &spread], vec![])
            }
            3 => {
                channels = c * 2;
                b.grouped(&x, "Conv", &[c * 2, 1, 3, 3], c, c * 2)
            }
            4 => {
                let (one, two) = (2 + b.dice.below(4), 2 + b.dice.below(4));
                let (y, z) = (b.conv(&x, c, one, 1), b.conv(&x, c, two, 3));
                channels = one + two;
                b.add("Concat", &[&y, &z], axis(1))
            }
            5 => {
                let gate = b.add("GlobalAveragePool", &[&x], vec![]);
                let gate = b.conv(&gate, c, c, 1);
                let gate = b.add("Sigmoid", &[&gate], vec![]);
                b.add("Mul", &[&gate, &x], vec![])
            }
            6 if side > 2 => {
                self.side /= 2;
                let window = vec![attr::from_ints("kernel_shape", &[2, 2]), attr::from_ints("strides", &[2, 2])];
                let op = ["MaxPool", "AveragePool"][b.dice.below(2)];
                b.add(op, &[&x], window)
            }
            7 => {
                let y = b.add("Transpose", &[&x], vec![attr::from_ints("perm", &[0, 2, 3, 1])]);
                let scale = b.weight(&[c]);
                let y = b.add("Mul", &[&y, &scale], vec![]);
                b.add("Transpose", &[&y], vec![attr::from_ints("perm", &[0, 3, 1, 2])])
            }
            // Groups of many channels, then many groups of few.
            8 if c % 2 == 0 => {
                channels = 2 * to;
                b.grouped(&x, "Conv", &[2 * to, c / 2, 3, 3], 2, 2 * to)
            }
            9 => {
                let wide = b.conv(&x, c, 8, 1);
                channels = 12;
                b.grouped(&wide, "Conv", &[12, 2, 3, 3], 4, 12)
            }
            10 => {
                channels = to;
                b.grouped(&x, "ConvTranspose", &[c, to, 3, 3], 1, to)
            }
            11 if c % 2 == 0 => {
                channels = 2 * to;
                b.grouped(&x, "ConvTranspose", &[c, to, 3, 3], 2, 2 * to)
            }
            12 => {
                channels = c * 3;
                b.grouped(&x, "ConvTranspose", &[c, 3, 3, 3], c, c * 3)
            }
            13 => {
                let at = 1 + b.dice.below(c - 1);
                let sizes = b.ints(&[at as i64, (c - at) as i64]);
                let parts = b.add_all("Split", &[&x, &sizes], 2, axis(1));
                let one = b.conv(&parts[0], at, 3, 1);
                channels = c - at + 3;
                b.add("Concat", &[&parts[1], &one], axis(1))
            }
            14 if c % 2 == 0 => {
                let parts = b.add_all("Split", &[&x], 2, axis(1));
                channels = c / 2;
                b.add("Mul", &[&parts[0], &parts[1]], vec![])
            }
            15 => {
                let at = 1 + b.dice.below(c - 1);
                let one = b.slice(&x, 0, at as i64 - c as i64, 1);
                let two = b.slice(&x, at as i64, i64::from(i32::MAX), 1);
                b.add("Concat", &[&two, &one], axis(1))
            }
            16 => {
                let one = b.slice(&x, 0, i64::from(i32::MAX), 2);
                let two = b.slice(&x, 1, i64::from(i32::MAX), 2);
                b.add("Concat", &[&one, &two, &x], axis(1)).clone_into(&mut self.x);
                channels = 2 * c;
                self.x.clone()
            }
            17 => {
                let places: Vec<i64> = (0..c + 2).map(|_| b.dice.below(c) as i64 - (c as i64) / 2).collect();
                let places = b.ints(&places);
                channels = c + 2;
                b.add("Gather", &[&x, &places], axis(1))
            }
            18 => {
                let (scale, shift) = (b.weight(&[c]), b.weight(&[c]));
                b.add("InstanceNormalization", &[&x, &scale, &shift], vec![])
            }
            19 if c % 2 == 0 => b.group_norm(&x, c, side),
            20 if c % 2 == 0 => {
                let (s, half) = (side as i64, c as i64 / 2);
                let apart = b.ints(&[1, 2, half, s, s]);
                let y = b.add("Reshape", &[&x, &apart], vec![]);
                let y = b.add("Transpose", &[&y], vec![attr::from_ints("perm", &[0, 2, 1, 3, 4])]);
                let whole = b.ints(&[1, c as i64, s, s]);
                b.add("Reshape", &[&y, &whole], vec![])
            }
            21 => {
                let pads = b.ints(&[0, 0, 1, 0, 0, 0, 0, 1]);
                let y = b.add("Pad", &[&x, &pads], vec![]);
                let w = b.weight(&[to, c, 2, 2]);
                channels = to;
                b.add("Conv", &[&y, &w], vec![])
            }
            22 => {
                let slope = b.weight(&[c, 1, 1]);
                b.add("PRelu", &[&x, &slope], vec![])
            }
            23 => {
                let repeats = b.ints(&[1, 2, 1, 1]);
                channels = 2 * c;
                b.add("Tile", &[&x, &repeats], vec![])
            }
            24 => b.attention(&x, c, side),
            25 => {
                let (w, flat) = (b.weight(&[to, c]), b.ints(&[1, c as i64, (side * side) as i64]));
                let y = b.add("Reshape", &[&x, &flat], vec![]);
                let y = b.add("MatMul", &[&w, &y], vec![]);
                let whole = b.ints(&[1, to as i64, side as i64, side as i64]);
                channels = to;
                b.add("Reshape", &[&y, &whole], vec![])
            }
            26 => {
                let axes = vec![attr::from_ints("axes", &[2, 3]), attr::from_int("keepdims", 1)];
                let mean = b.add("ReduceMean", &[&x], axes);
                let shape = b.ints(&[1, c as i64, side as i64, side as i64]);
                let mean = b.add("Expand", &[&mean, &shape], vec![]);
                b.add("Sub", &[&x, &mean], vec![])
            }
            27 => {
                let axes = b.ints(&[1]);
                let gate = b.add("ReduceSum", &[&x, &axes], vec![attr::from_int("keepdims", 1)]);
                let gate = b.add("Tanh", &[&gate], vec![]);
                b.add("Mul", &[&gate, &x], vec![])
            }
            28 => {
                let y = b.add("Softmax", &[&x], axis(3));
                let bias = b.weight(&[1, c, 1, 1]);
                b.add("Add", &[&bias, &y], vec![])
            }
            _ => {
                let op = ["Relu", "Tanh", "Sigmoid", "Softplus", "HardSwish"][b.dice.below(5)];
                b.add(op, &[&x], vec![])
            }
        };
        self.channels = channels;
    }

    /// Five outputs.
    pub(super) fn finish(mut self, head: usize) -> Model {
        let (x, c, side) = (self.x.clone(), self.channels, self.side);
        let b = &mut self.b;
        let area = side * side;
        let (flat, width) = match head {
            0 => (b.add("Flatten", &[&x], vec![]), c * area),
            1 => {
                let shape = b.ints(&[1, (c * area) as i64]);
                (b.add("Reshape", &[&x, &shape], vec![]), c * area)
            }
            2 => {
                let axes = vec![attr::from_ints("axes", &[2, 3]), attr::from_int("keepdims", 0)];
                (b.add("ReduceMean", &[&x], axes), c)
            }
            3 => {
                let y = b.add("GlobalAveragePool", &[&x], vec![]);
                let axes = b.ints(&[2, 3]);
                (b.add("Squeeze", &[&y, &axes], vec![]), c)
            }
            _ => b.recurrent(&x, c, area),
        };
        let hidden = 4 + b.dice.below(5);
        let y = if b.dice.below(2) == 0 {
            let (w, bias) = (b.weight(&[width, hidden]), b.weight(&[hidden]));
            let y = b.add("MatMul", &[&flat, &w], vec![]);
            b.add("Add", &[&bias, &y], vec![])
        } else {
            let (w, bias) = (b.weight(&[hidden, width]), b.weight(&[hidden]));
            b.add("Gemm", &[&flat, &w, &bias], vec![attr::from_int("transB", 1)])
        };
        let y = b.add("Relu", &[&y], vec![]);
        let (w, bias) = (b.weight(&[hidden, 5]), b.weight(&[5]));
        let y = b.add("Gemm", &[&y, &w, &bias], vec![]);
        self.b.finish(&y, &[1, 5])
    }
}

/// A trunk of some blocks and a head, all drawn by the seed.
pub(super) fn graph(seed: u64) -> Model {
    let mut trunk = Trunk::new(seed);
    for _ in 0..2 + trunk.b.dice.below(4) {
        let kind = trunk.b.dice.below(BLOCKS + 2);
        // Wide trunks only grow slower to run.
        if trunk.channels < 24 || ![3, 12, 16, 23].contains(&kind) {
            trunk.block(kind);
        }
    }
    let head = trunk.b.dice.below(HEADS);
    trunk.finish(head)
}

impl Builder {
    fn grouped(&mut self, x: &str, op: &str, shape: &[usize], group: usize, made: usize) -> String {
        let attributes = vec![attr::from_int("group", group as i64), attr::from_ints("pads", &[1; 4])];
        let (w, bias) = (self.weight(shape), self.weight(&[made]));
        if self.dice.below(2) == 0 {
            return self.add(op, &[x, &w], attributes);
        }
        self.add(op, &[x, &w, &bias], attributes)
    }

    fn slice(&mut self, x: &str, start: i64, end: i64, step: i64) -> String {
        let lists: Vec<String> = [start, end, 1, step].iter().map(|v| self.ints(&[*v])).collect();
        self.add("Slice", &[x, &lists[0], &lists[1], &lists[2], &lists[3]], vec![])
    }

    /// As PyTorch exports it: instances of groups.
    fn group_norm(&mut self, x: &str, c: usize, side: usize) -> String {
        let apart = self.ints(&[0, 2, -1]);
        let y = self.add("Reshape", &[x, &apart], vec![]);
        let (one, none) = (self.hold(&Tensor::vector(&[1f32; 2])), self.hold(&Tensor::vector(&[0f32; 2])));
        let y = self.add("InstanceNormalization", &[&y, &one, &none], vec![]);
        let whole = self.ints(&[1, c as i64, side as i64, side as i64]);
        let y = self.add("Reshape", &[&y, &whole], vec![]);
        let (scale, shift) = (self.weight(&[c, 1, 1]), self.weight(&[c, 1, 1]));
        let y = self.add("Mul", &[&y, &scale], vec![]);
        self.add("Add", &[&y, &shift], vec![])
    }

    /// Positions attend to each other in three or six heads; the residual sum is in channel-last order.
    fn attention(&mut self, x: &str, c: usize, side: usize) -> String {
        let (area, width) = (side as i64 * side as i64, 12);
        let flat = self.ints(&[1, c as i64, area]);
        let y = self.add("Reshape", &[x, &flat], vec![]);
        let y = self.add("Transpose", &[&y], vec![attr::from_ints("perm", &[0, 2, 1])]);
        let packed = self.dice.below(2) == 0;
        let heads = [3, 6][self.dice.below(2)];
        let project = |b: &mut Self, times: usize, perm: &[i64]| {
            let (w, bias) = (b.weight(&[c, width * times]), b.weight(&[width * times]));
            let z = b.add("MatMul", &[&y, &w], vec![]);
            let z = b.add("Add", &[&z, &bias], vec![]);
            let mut dims = vec![1, area];
            if times > 1 {
                dims.push(times as i64);
            }
            dims.extend([heads, width as i64 / heads]);
            let heads = b.ints(&dims);
            let z = b.add("Reshape", &[&z, &heads], vec![]);
            b.add("Transpose", &[&z], vec![attr::from_ints("perm", perm)])
        };
        let [q, k, v] = if packed {
            let all = project(self, 3, &[2, 0, 3, 1, 4]);
            let one = |b: &mut Self, i: i64| {
                let at = b.hold(&Tensor::scalar(i));
                b.add("Gather", &[&all, &at], vec![attr::from_int("axis", 0)])
            };
            let k = one(self, 1);
            let k = self.add("Transpose", &[&k], vec![attr::from_ints("perm", &[0, 1, 3, 2])]);
            [one(self, 0), k, one(self, 2)]
        } else {
            let q = project(self, 1, &[0, 2, 1, 3]);
            let k = project(self, 1, &[0, 2, 3, 1]);
            [q, k, project(self, 1, &[0, 2, 1, 3])]
        };
        let scores = self.add("MatMul", &[&q, &k], vec![]);
        let scores = self.add("Softmax", &[&scores], vec![attr::from_int("axis", -1)]);
        let z = self.add("MatMul", &[&scores, &v], vec![]);
        let z = self.add("Transpose", &[&z], vec![attr::from_ints("perm", &[0, 2, 1, 3])]);
        let joined = self.ints(&[1, area, width as i64]);
        let z = self.add("Reshape", &[&z, &joined], vec![]);
        let w = self.weight(&[width, c]);
        let z = self.add("MatMul", &[&z, &w], vec![]);
        let z = self.add("Add", &[&y, &z], vec![]);
        let z = self.add("Transpose", &[&z], vec![attr::from_ints("perm", &[0, 2, 1])]);
        let whole = self.ints(&[1, c as i64, side as i64, side as i64]);
        self.add("Reshape", &[&z, &whole], vec![])
    }

    /// Positions in their order as a sequence; the states of a recurrent layer, and how many they are.
    fn recurrent(&mut self, x: &str, c: usize, area: usize) -> (String, usize) {
        let flat = self.ints(&[1, c as i64, area as i64]);
        let y = self.add("Reshape", &[x, &flat], vec![]);
        let y = self.add("Transpose", &[&y], vec![attr::from_ints("perm", &[2, 0, 1])]);
        let (op, gates) = [("LSTM", 4), ("GRU", 3), ("RNN", 1)][self.dice.below(3)];
        let (directions, hidden) = (1 + self.dice.below(2), 4 + self.dice.below(4));
        let rows = gates * hidden;
        let (w, r) = (self.weight(&[directions, rows, c]), self.weight(&[directions, rows, hidden]));
        let bias = self.weight(&[directions, 2 * rows]);
        let mut inputs = vec![y.as_str(), &w, &r, &bias, ""];
        let (state, zeros) = (self.weight(&[directions, 1, hidden]), self.zeros(&[directions, 1, hidden]));
        inputs.push(if self.dice.below(2) == 0 { &state } else { &zeros });
        let cell = self.weight(&[directions, 1, hidden]);
        if op == "LSTM" {
            inputs.push(&cell);
        }
        let direction = ["forward", "bidirectional"][directions - 1];
        let mut attributes =
            vec![attr::from_int("hidden_size", hidden as i64), attr::from_string("direction", direction)];
        if op == "GRU" {
            attributes.push(attr::from_int("linear_before_reset", self.dice.below(2) as i64));
        }
        let states = self.add_all(op, &inputs, 2, attributes);
        if self.dice.below(2) == 0 {
            let perm = vec![attr::from_ints("perm", &[1, 0, 2])];
            let y = self.add("Transpose", &[&states[1]], perm);
            let shape = self.ints(&[1, (directions * hidden) as i64]);
            return (self.add("Reshape", &[&y, &shape], vec![]), directions * hidden);
        }
        let y = self.add("Transpose", &[&states[0]], vec![attr::from_ints("perm", &[0, 2, 1, 3])]);
        let shape = self.ints(&[0, 0, -1]);
        let y = self.add("Reshape", &[&y, &shape], vec![]);
        let axes = vec![attr::from_ints("axes", &[0]), attr::from_int("keepdims", 0)];
        (self.add("ReduceMean", &[&y], axes), directions * hidden)
    }

    fn zeros(&mut self, shape: &[usize]) -> String {
        let zeros = vec![0f32; shape.iter().product()];
        let tensor = Tensor::from_elements(shape, &zeros).unwrap();
        self.hold(&tensor)
    }
}
