//! Dense tensors: dtype, shape and little-endian bytes, decoded from and encoded to `TensorProto`.

use half::{bf16, f16};
use onnx_protobuf::{TensorProto, tensor_proto::DataLocation};

/// Why tensor data could not be decoded, built or converted.
#[derive(Debug, thiserror::Error, Clone, PartialEq)]
pub enum TensorError {
    /// A dtype code this version does not know.
    #[error("tensor `{name}` has dtype code {code}, which is not known")]
    UnknownDType {
        /// Name of the tensor.
        name: String,
        /// `TensorProto.DataType` code.
        code: i32,
    },
    /// Strings have no dense numeric form.
    #[error("tensor `{0}` holds strings, which have no numeric form")]
    Strings(String),
    /// A dimension is negative, or the element count overflows.
    #[error("tensor `{name}` has impossible dimensions {dims:?}")]
    Dims {
        /// Name of the tensor.
        name: String,
        /// Dimensions as stored.
        dims: Vec<i64>,
    },
    /// The data do not have the length that dtype and shape ask for.
    #[error("tensor `{name}` ({dtype}, shape {shape:?}) holds {found} bytes of data, {expected} are needed")]
    Length {
        /// Name of the tensor.
        name: String,
        /// Its dtype.
        dtype: DType,
        /// Its shape.
        shape: Vec<usize>,
        /// Bytes that dtype and shape ask for.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// The data lie in another file and were not loaded.
    #[error("tensor `{0}` lies in an external file that was not loaded")]
    External(String),
    /// A conversion that is not defined for this dtype.
    #[error("a tensor of {0} cannot be read as {1}")]
    Convert(DType, &'static str),
}

macro_rules! dtypes {
    ($($variant:ident = $code:literal, $bits:literal, $name:literal;)*) => {
        /// Element types of dense numeric tensors, as the ONNX specification numbers them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DType { $(#[doc = $name] $variant),* }
        impl DType {
            /// The dtype of a `TensorProto.DataType` code; `None` for strings, undefined and unknown codes.
            pub fn from_onnx(code: i32) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }
            /// The `TensorProto.DataType` code.
            pub fn to_onnx(self) -> i32 { match self { $(Self::$variant => $code),* } }
            /// Bits of one element (4-bit types are packed, two elements a byte).
            pub fn bits(self) -> usize { match self { $(Self::$variant => $bits),* } }
            /// Lower-case name, such as `float32`.
            pub fn name(self) -> &'static str { match self { $(Self::$variant => $name),* } }
            /// The dtype of a name as [`DType::name`] gives it.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

dtypes! {
    F32 = 1, 32, "float32"; U8 = 2, 8, "uint8"; I8 = 3, 8, "int8"; U16 = 4, 16, "uint16"; I16 = 5, 16, "int16";
    I32 = 6, 32, "int32"; I64 = 7, 64, "int64"; Bool = 9, 8, "bool"; F16 = 10, 16, "float16"; F64 = 11, 64, "float64";
    U32 = 12, 32, "uint32"; U64 = 13, 64, "uint64"; C64 = 14, 64, "complex64"; C128 = 15, 128, "complex128";
    BF16 = 16, 16, "bfloat16"; F8E4M3FN = 17, 8, "float8e4m3fn"; F8E4M3FNUZ = 18, 8, "float8e4m3fnuz";
    F8E5M2 = 19, 8, "float8e5m2"; F8E5M2FNUZ = 20, 8, "float8e5m2fnuz"; U4 = 21, 4, "uint4"; I4 = 22, 4, "int4";
    F4E2M1 = 23, 4, "float4e2m1"; F8E8M0 = 24, 8, "float8e8m0"; U2 = 25, 2, "uint2"; I2 = 26, 2, "int2";
}

/// Types that contracts speak of, as they abbreviate them.
const SHORT: [(DType, &str); 13] = [
    (DType::F32, "f32"),
    (DType::F64, "f64"),
    (DType::F16, "f16"),
    (DType::BF16, "bf16"),
    (DType::I8, "i8"),
    (DType::U8, "u8"),
    (DType::I16, "i16"),
    (DType::U16, "u16"),
    (DType::I32, "i32"),
    (DType::U32, "u32"),
    (DType::I64, "i64"),
    (DType::U64, "u64"),
    (DType::Bool, "bool"),
];

impl DType {
    /// Its abbreviation in contracts, such as `f32`; `None` where they have none for it.
    pub fn short_name(self) -> Option<&'static str> {
        SHORT.iter().find(|(dtype, _)| *dtype == self).map(|(_, name)| *name)
    }

    /// The dtype of an abbreviation as [`DType::short_name`] gives it.
    pub fn from_short_name(name: &str) -> Option<Self> {
        SHORT.iter().find(|(_, short)| *short == name).map(|(dtype, _)| *dtype)
    }

    /// Bytes of `elements` packed elements; `None` where that overflows.
    pub fn bytes_of(self, elements: usize) -> Option<usize> {
        Some(elements.checked_mul(self.bits())?.div_ceil(8))
    }

    /// Whether this is one of the floating-point types.
    pub fn is_float(self) -> bool {
        use DType::*;
        matches!(self, F16 | BF16 | F32 | F64 | F8E4M3FN | F8E4M3FNUZ | F8E5M2 | F8E5M2FNUZ | F4E2M1 | F8E8M0)
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A Rust type that is the element of a dense tensor.
pub trait Element: Copy {
    /// Its dtype.
    const DTYPE: DType;
    /// Appends the little-endian bytes.
    fn put(self, out: &mut Vec<u8>);
    /// Reads one element from exactly `bits / 8` bytes.
    fn get(bytes: &[u8]) -> Self;
    /// Reads as many elements as there are.
    fn all(bytes: &[u8]) -> Vec<Self> {
        bytes.chunks_exact(size_of::<Self>()).map(Self::get).collect()
    }
}

macro_rules! elements {
    ($($ty:ty => $dtype:ident),*) => {$(
        impl Element for $ty {
            const DTYPE: DType = DType::$dtype;
            fn put(self, out: &mut Vec<u8>) { out.extend_from_slice(&self.to_le_bytes()); }
            fn get(bytes: &[u8]) -> Self {
                let mut buffer = [0; size_of::<$ty>()];
                buffer.copy_from_slice(bytes);
                <$ty>::from_le_bytes(buffer)
            }
            fn all(bytes: &[u8]) -> Vec<Self> {
                bytes.as_chunks().0.iter().map(|chunk| <$ty>::from_le_bytes(*chunk)).collect()
            }
        }
    )*};
}
elements!(f32 => F32, f64 => F64, u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, u64 => U64, i64 => I64, f16 => F16, bf16 => BF16);

impl Element for bool {
    const DTYPE: DType = DType::Bool;
    fn put(self, out: &mut Vec<u8>) {
        out.push(self.into());
    }
    fn get(bytes: &[u8]) -> Self {
        bytes.iter().any(|&b| b != 0)
    }
}

/// A dense numeric tensor, row-major, little-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// The number of elements of a shape; `None` where it overflows.
pub(crate) fn elements_of(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

impl Tensor {
    /// A tensor of packed little-endian bytes, as ONNX's `raw_data` has them.
    pub fn new(dtype: DType, shape: Vec<usize>, bytes: Vec<u8>) -> Result<Self, TensorError> {
        Self::named("", dtype, shape, bytes)
    }

    fn named(name: &str, dtype: DType, shape: Vec<usize>, bytes: Vec<u8>) -> Result<Self, TensorError> {
        let expected = elements_of(&shape)
            .and_then(|n| dtype.bytes_of(n))
            .ok_or_else(|| TensorError::Dims { name: name.into(), dims: shape.iter().map(|&d| d as i64).collect() })?;
        if bytes.len() != expected {
            return Err(TensorError::Length { name: name.into(), dtype, shape, expected, found: bytes.len() });
        }
        Ok(Self { dtype, shape, bytes })
    }

    /// A tensor from elements in row-major order; an error where their number is not the shape's.
    pub fn from_elements<T: Element>(shape: &[usize], elements: &[T]) -> Result<Self, TensorError> {
        let mut bytes = Vec::with_capacity(size_of_val(elements));
        for &element in elements {
            element.put(&mut bytes);
        }
        Self::new(T::DTYPE, shape.to_vec(), bytes)
    }

    /// A scalar (shape `[]`).
    pub fn scalar<T: Element>(value: T) -> Self {
        let mut bytes = Vec::new();
        value.put(&mut bytes);
        Self { dtype: T::DTYPE, shape: vec![], bytes }
    }

    /// A vector (shape `[n]`).
    pub fn vector<T: Element>(values: &[T]) -> Self {
        let mut bytes = Vec::with_capacity(std::mem::size_of_val(values));
        for &value in values {
            value.put(&mut bytes);
        }
        Self { dtype: T::DTYPE, shape: vec![values.len()], bytes }
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The packed little-endian bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The packed little-endian bytes, by value.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The elements, where the dtype is exactly `T`'s.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>, TensorError> {
        if self.dtype != T::DTYPE {
            return Err(TensorError::Convert(self.dtype, T::DTYPE.name()));
        }
        Ok(T::all(&self.bytes))
    }

    /// Every real numeric dtype as `f64`, exactly where `f64` can hold it.
    pub fn to_f64(&self) -> Result<Vec<f64>, TensorError> {
        fn all<T: Element>(bytes: &[u8], f: impl Fn(T) -> f64) -> Vec<f64> {
            bytes.chunks_exact(size_of::<T>()).map(|b| f(T::get(b))).collect()
        }
        let b = &self.bytes;
        Ok(match self.dtype {
            DType::F32 => all(b, |x: f32| x.into()),
            DType::F64 => all(b, |x: f64| x),
            DType::F16 => all(b, |x: f16| x.to_f64()),
            DType::BF16 => all(b, |x: bf16| x.to_f64()),
            DType::U8 => all(b, |x: u8| x.into()),
            DType::I8 => all(b, |x: i8| x.into()),
            DType::U16 => all(b, |x: u16| x.into()),
            DType::I16 => all(b, |x: i16| x.into()),
            DType::U32 => all(b, |x: u32| x.into()),
            DType::I32 => all(b, |x: i32| x.into()),
            DType::U64 => all(b, |x: u64| x as f64),
            DType::I64 => all(b, |x: i64| x as f64),
            DType::Bool => b.iter().map(|&x| f64::from(x != 0)).collect(),
            DType::U4 | DType::I4 | DType::U2 | DType::I2 => self.to_i64()?.into_iter().map(|x| x as f64).collect(),
            other => return Err(TensorError::Convert(other, "real numbers")),
        })
    }

    /// Every real numeric dtype as `f32`, rounded to nearest.
    pub fn to_f32(&self) -> Result<Vec<f32>, TensorError> {
        if self.dtype == DType::F32 {
            return self.to_vec();
        }
        Ok(self.to_f64()?.into_iter().map(|x| x as f32).collect())
    }

    /// Every integer dtype and bool as `i64`; `uint64` above `i64::MAX` is refused.
    pub fn to_i64(&self) -> Result<Vec<i64>, TensorError> {
        fn all<T: Element + Into<i64>>(bytes: &[u8]) -> Vec<i64> {
            bytes.chunks_exact(size_of::<T>()).map(|b| T::get(b).into()).collect()
        }
        let b = &self.bytes;
        Ok(match self.dtype {
            DType::U8 => all::<u8>(b),
            DType::I8 => all::<i8>(b),
            DType::U16 => all::<u16>(b),
            DType::I16 => all::<i16>(b),
            DType::U32 => all::<u32>(b),
            DType::I32 => all::<i32>(b),
            DType::I64 => all::<i64>(b),
            DType::Bool => b.iter().map(|&x| i64::from(x != 0)).collect(),
            DType::U64 => {
                let values = b.chunks_exact(8).map(|b| i64::try_from(u64::get(b)));
                values.collect::<Result<_, _>>().map_err(|_| TensorError::Convert(self.dtype, "int64"))?
            }
            DType::U4 | DType::I4 | DType::U2 | DType::I2 => self.unpack(),
            other => return Err(TensorError::Convert(other, "integers")),
        })
    }

    /// Elements of the sub-byte integer types: the first lies in the low bits (ONNX specification, "4-bit integer types").
    fn unpack(&self) -> Vec<i64> {
        let bits = self.dtype.bits();
        let signed = matches!(self.dtype, DType::I4 | DType::I2);
        let element = |i: usize| {
            let raw = i64::from(self.bytes[i * bits / 8] >> (i * bits % 8)) & ((1 << bits) - 1);
            if signed && raw >> (bits - 1) == 1 { raw - (1 << bits) } else { raw }
        };
        (0..self.len()).map(element).collect()
    }

    /// A floating-point tensor as `float16`, rounded to nearest even; values beyond ±65504 become infinite.
    pub fn to_f16(&self) -> Result<Self, TensorError> {
        let elements: Vec<f16> = self.to_f64()?.into_iter().map(f16::from_f64).collect();
        Self::from_elements(&self.shape, &elements)
    }

    /// The same data under another shape of as many elements.
    pub fn reshape(self, shape: Vec<usize>) -> Result<Self, TensorError> {
        Self::new(self.dtype, shape, self.bytes)
    }

    /// Whether every element of a floating-point tensor is finite; integers are.
    pub fn is_finite(&self) -> bool {
        !self.dtype.is_float() || self.to_f64().map_or(true, |v| v.iter().all(|x| x.is_finite()))
    }

    /// Decodes a `TensorProto`, whichever of its fields holds the data.
    pub fn from_proto(proto: &TensorProto) -> Result<Self, TensorError> {
        let name = proto.name.as_str();
        if proto.data_type == 8 {
            return Err(TensorError::Strings(name.into()));
        }
        let dtype = DType::from_onnx(proto.data_type)
            .ok_or_else(|| TensorError::UnknownDType { name: name.into(), code: proto.data_type })?;
        let shape = shape_of(proto)?;
        if proto.data_location.enum_value() == Ok(DataLocation::EXTERNAL) && proto.raw_data.is_empty() {
            let empty = elements_of(&shape) == Some(0);
            return if empty {
                Self::named(name, dtype, shape, vec![])
            } else {
                Err(TensorError::External(name.into()))
            };
        }
        let bytes = if proto.raw_data.is_empty() { typed_bytes(proto, dtype) } else { proto.raw_data.clone() };
        Self::named(name, dtype, shape, bytes)
    }

    /// Encodes into a `TensorProto` named `name`, data in `raw_data`.
    pub fn to_proto(&self, name: &str) -> TensorProto {
        TensorProto {
            name: name.into(),
            data_type: self.dtype.to_onnx(),
            dims: self.shape.iter().map(|&d| d as i64).collect(),
            raw_data: self.bytes.clone(),
            ..Default::default()
        }
    }
}

/// The shape of a `TensorProto`, dimensions checked.
pub(crate) fn shape_of(proto: &TensorProto) -> Result<Vec<usize>, TensorError> {
    let impossible = || TensorError::Dims { name: proto.name.clone(), dims: proto.dims.clone() };
    let shape: Vec<usize> =
        proto.dims.iter().map(|&d| usize::try_from(d)).collect::<Result<_, _>>().map_err(|_| impossible())?;
    elements_of(&shape).ok_or_else(impossible)?;
    Ok(shape)
}

/// Bytes that [`Tensor::from_proto`] would find, without decoding them.
pub(crate) fn data_len(proto: &TensorProto, dtype: DType) -> usize {
    if !proto.raw_data.is_empty() {
        return proto.raw_data.len();
    }
    match dtype {
        DType::F32 | DType::C64 => proto.float_data.len() * 4,
        DType::F64 | DType::C128 => proto.double_data.len() * 8,
        DType::I64 => proto.int64_data.len() * 8,
        DType::U64 => proto.uint64_data.len() * 8,
        DType::U32 => proto.uint64_data.len() * 4,
        DType::I32 => proto.int32_data.len() * 4,
        DType::U16 | DType::I16 | DType::F16 | DType::BF16 => proto.int32_data.len() * 2,
        _ => proto.int32_data.len(),
    }
}

/// The typed fields (`float_data`, `int32_data`, …) as packed bytes, by the table in `onnx.proto`.
fn typed_bytes(proto: &TensorProto, dtype: DType) -> Vec<u8> {
    fn packed<T: Element>(values: impl Iterator<Item = T>) -> Vec<u8> {
        let mut out = Vec::new();
        values.for_each(|v| v.put(&mut out));
        out
    }
    let ints = proto.int32_data.iter();
    match dtype {
        DType::F32 | DType::C64 => packed(proto.float_data.iter().copied()),
        DType::F64 | DType::C128 => packed(proto.double_data.iter().copied()),
        DType::I64 => packed(proto.int64_data.iter().copied()),
        DType::U64 => packed(proto.uint64_data.iter().copied()),
        DType::U32 => packed(proto.uint64_data.iter().map(|&x| x as u32)),
        DType::I32 => packed(ints.copied()),
        DType::U16 | DType::I16 | DType::F16 | DType::BF16 => packed(ints.map(|&x| x as u16)),
        _ => packed(ints.map(|&x| x as u8)),
    }
}

/// Tensors by the names of the values they are.
pub type Tensors = std::collections::BTreeMap<String, Tensor>;
