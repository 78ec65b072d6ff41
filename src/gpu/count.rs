//! Counts what a kernel executes: bytes of storage buffers loaded and stored, and float operations.
//!
//! A shader's module is cut into *segments*, runs of statements of which all or none are executed. The cost of a segment is
//! known from its text; a counter at its beginning, in a private variable of each lane, counts how often it runs, and the
//! lane adds it to a buffer at its end. Nothing else changes, so the shader computes the same bits.
//!
//! The counts are those of the WGSL, lane by lane: a value that all lanes of a workgroup load counts once per lane, although
//! hardware fetches it once. Savings by compilers or caches are neither seen nor estimated.

use super::rewrite::{GROUP, Text, inner_blocks, parse, rewrite};
use crate::error::Result;
use serde::Serialize;
use std::ops::AddAssign;
use wgpu::naga::{
    AddressSpace, ArraySize, AtomicFunction, BinaryOperator, Block, Expression, Function, GlobalVariable, Handle,
    Literal, MathFunction, MemoryDecorations, Module, Range, ResourceBinding, Scalar, ScalarKind, Span, Statement,
    StorageAccess, Type, TypeInner, UnaryOperator,
};

/// Memory traffic and arithmetic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Work {
    /// Bytes loaded from storage buffers.
    pub read_bytes: u64,
    /// Bytes stored to storage buffers; an atomic operation counts as a load and a store.
    pub written_bytes: u64,
    /// Float multiply-adds: the greater of the number of additions and that of multiplications and divisions in each
    /// segment, which is the least for a machine that fuses them.
    pub multiply_adds: u64,
}

impl Work {
    /// Bytes moved.
    pub fn bytes(&self) -> u64 {
        self.read_bytes + self.written_bytes
    }

    /// This work `n` times.
    fn times(self, n: u64) -> Work {
        let by = |x: u64| x.saturating_mul(n);
        Work {
            read_bytes: by(self.read_bytes),
            written_bytes: by(self.written_bytes),
            multiply_adds: by(self.multiply_adds),
        }
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Work) {
        self.read_bytes = self.read_bytes.saturating_add(other.read_bytes);
        self.written_bytes = self.written_bytes.saturating_add(other.written_bytes);
        self.multiply_adds = self.multiply_adds.saturating_add(other.multiply_adds);
    }
}

/// What one kernel of a step executed, over all its dispatches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KernelCount {
    /// Operation and layer, as in [`KernelTime`](crate::engine::KernelTime).
    pub name: String,
    /// Dispatches.
    pub dispatches: u32,
    /// Executed.
    #[serde(flatten)]
    pub work: Work,
}

/// Words of a segment's counter: low and high.
const COUNTER: u32 = 2;

/// A shader with counters in it.
pub struct Counted {
    /// The shader to compile. Group 1, binding 0 is a buffer of two words per segment.
    pub module: Module,
    /// The cost of each segment.
    pub segments: Vec<Work>,
}

impl Counted {
    /// Puts counters into a shader of one entry point.
    ///
    /// # Errors
    /// WGSL that is not valid.
    pub fn new(source: &str) -> Result<Self> {
        let (mut module, info) = parse(source)?;
        let mut segments = Vec::new();
        let original = module.clone();
        let globals = Globals::add(&mut module);
        for (handle, function) in module.functions.iter_mut() {
            let text = Text { module: &original, function: &original.functions[handle], info: &info[handle] };
            Writer::new(function, &globals).count(&text, &mut segments);
        }
        for (k, entry) in module.entry_points.iter_mut().enumerate() {
            let text =
                Text { module: &original, function: &original.entry_points[k].function, info: info.get_entry_point(k) };
            let mut writer = Writer::new(&mut entry.function, &globals);
            writer.count(&text, &mut segments);
        }
        for entry in &mut module.entry_points {
            Writer::new(&mut entry.function, &globals).hand_over(segments.len() as u32);
        }
        globals.size(&mut module, segments.len() as u32);
        Ok(Counted { module, segments })
    }

    /// Bytes of the buffer that a dispatch's counters take.
    pub fn buffer_bytes(segments: &[Work]) -> u64 {
        4 * u64::from(COUNTER) * segments.len().max(1) as u64
    }

    /// The work of a dispatch whose counters are `words`.
    pub fn work(segments: &[Work], words: &[u32]) -> Work {
        let mut work = Work::default();
        for (segment, counter) in segments.iter().zip(words.chunks_exact(COUNTER as usize)) {
            work += segment.times(u64::from(counter[0]) | u64::from(counter[1]) << 32);
        }
        work
    }
}

/// The variables added to a module.
struct Globals {
    word: Handle<Type>,
    /// Executions of each segment by this lane; its type follows when their number is known.
    executed: Handle<GlobalVariable>,
    counters: Handle<GlobalVariable>,
}

impl Globals {
    fn add(module: &mut Module) -> Self {
        let mut ty = |inner: TypeInner| module.types.insert(Type { name: None, inner }, Span::UNDEFINED);
        let word = ty(TypeInner::Scalar(Scalar::U32));
        let atomic = ty(TypeInner::Atomic(Scalar::U32));
        let buffer = ty(TypeInner::Array { base: atomic, size: ArraySize::Dynamic, stride: 4 });
        let variable = |name: &str, space, binding, ty| GlobalVariable {
            name: Some(name.into()),
            space,
            binding,
            ty,
            init: None,
            memory_decorations: MemoryDecorations::empty(),
        };
        let executed = variable("counted_here", AddressSpace::Private, None, word);
        let binding = Some(ResourceBinding { group: GROUP, binding: 0 });
        let space = AddressSpace::Storage { access: StorageAccess::LOAD | StorageAccess::STORE };
        let counters = variable("counted", space, binding, buffer);
        Globals {
            word,
            executed: module.global_variables.append(executed, Span::UNDEFINED),
            counters: module.global_variables.append(counters, Span::UNDEFINED),
        }
    }

    fn size(&self, module: &mut Module, segments: u32) {
        let size = ArraySize::Constant(std::num::NonZeroU32::new(segments).unwrap_or(std::num::NonZeroU32::MIN));
        let inner = TypeInner::Array { base: self.word, size, stride: 4 };
        let ty = module.types.insert(Type { name: None, inner }, Span::UNDEFINED);
        module.global_variables[self.executed].ty = ty;
    }
}

/// Float operations of a segment, by kind.
#[derive(Default)]
struct Cost {
    read: u64,
    written: u64,
    additions: u64,
    multiplications: u64,
}

impl Cost {
    fn work(&self) -> Work {
        Work {
            read_bytes: self.read,
            written_bytes: self.written,
            multiply_adds: self.additions.max(self.multiplications),
        }
    }
}

impl Text<'_> {
    /// Components of a float expression; 0 for others.
    fn floats(&self, expression: Handle<Expression>) -> u64 {
        match *self.inner(expression) {
            TypeInner::Scalar(Scalar { kind: ScalarKind::Float, .. }) => 1,
            TypeInner::Vector { size, scalar: Scalar { kind: ScalarKind::Float, .. } } => size as u64,
            TypeInner::Matrix { columns, rows, .. } => columns as u64 * rows as u64,
            _ => 0,
        }
    }

    fn bytes(&self, expression: Handle<Expression>) -> u64 {
        u64::from(self.inner(expression).size(self.module.to_ctx()))
    }

    /// Whether a pointer points into a storage buffer.
    fn in_storage(&self, pointer: Handle<Expression>) -> bool {
        matches!(self.inner(pointer).pointer_space(), Some(AddressSpace::Storage { .. }))
    }

    fn evaluate(&self, expression: Handle<Expression>, cost: &mut Cost) {
        let floats = self.floats(expression);
        match self.function.expressions[expression] {
            Expression::Load { pointer } if self.in_storage(pointer) => cost.read += self.bytes(expression),
            Expression::Binary { op: BinaryOperator::Add | BinaryOperator::Subtract, .. } => cost.additions += floats,
            Expression::Binary { op: BinaryOperator::Multiply | BinaryOperator::Divide, .. } => {
                cost.multiplications += floats;
            }
            Expression::Math { fun: MathFunction::Fma, .. } => {
                cost.additions += floats;
                cost.multiplications += floats;
            }
            Expression::Math { fun: MathFunction::Dot, arg, .. } => {
                cost.additions += self.floats(arg).saturating_sub(1);
                cost.multiplications += self.floats(arg);
            }
            _ => {}
        }
    }

    fn execute(&self, statement: &Statement, cost: &mut Cost) {
        match *statement {
            Statement::Emit(ref range) => range.clone().for_each(|e| self.evaluate(e, cost)),
            Statement::Store { pointer, value } if self.in_storage(pointer) => cost.written += self.bytes(value),
            Statement::Atomic { pointer, value, .. } if self.in_storage(pointer) => {
                cost.read += self.bytes(value);
                cost.written += self.bytes(value);
            }
            _ => {}
        }
    }
}

/// Whether control may leave the run of statements after this one.
fn may_leave(statement: &Statement) -> bool {
    let any = |block: &Block| block.iter().any(may_leave);
    match statement {
        Statement::Break | Statement::Continue | Statement::Return { .. } | Statement::Kill => true,
        Statement::Block(block) => any(block),
        Statement::If { accept, reject, .. } => any(accept) || any(reject),
        Statement::Switch { cases, .. } => cases.iter().any(|case| any(&case.body)),
        Statement::Loop { body, continuing, .. } => any(body) || any(continuing),
        _ => false,
    }
}

/// Writes into a function.
struct Writer<'a> {
    function: &'a mut Function,
    globals: &'a Globals,
    executed: Handle<Expression>,
    one: Handle<Expression>,
}

impl<'a> Writer<'a> {
    fn new(function: &'a mut Function, globals: &'a Globals) -> Self {
        let mut append = |expression| function.expressions.append(expression, Span::UNDEFINED);
        let executed = append(Expression::GlobalVariable(globals.executed));
        let one = append(Expression::Literal(Literal::U32(1)));
        Writer { function, globals, executed, one }
    }

    fn append(&mut self, expression: Expression) -> Handle<Expression> {
        self.function.expressions.append(expression, Span::UNDEFINED)
    }

    /// Puts a counter at the beginning of every segment, and appends the costs of the segments.
    fn count(&mut self, text: &Text, segments: &mut Vec<Work>) {
        let body = std::mem::take(&mut self.function.body);
        self.function.body = self.count_block(body, text, segments);
    }

    fn count_block(&mut self, block: Block, text: &Text, segments: &mut Vec<Work>) -> Block {
        let mut counted = Block::new();
        let (mut cost, mut run) = (Cost::default(), Block::new());
        for (mut statement, span) in block.span_into_iter() {
            text.execute(&statement, &mut cost);
            let leaves = may_leave(&statement);
            for inner in inner_blocks(&mut statement) {
                *inner = self.count_block(std::mem::take(inner), text, segments);
            }
            run.push(statement, span);
            if leaves {
                self.close(&mut counted, std::mem::take(&mut cost), std::mem::take(&mut run), segments);
            }
        }
        self.close(&mut counted, cost, run, segments);
        counted
    }

    /// Appends a finished segment, after its counter if it costs anything.
    fn close(&mut self, block: &mut Block, cost: Cost, run: Block, segments: &mut Vec<Work>) {
        let work = cost.work();
        if work != Work::default() {
            let index = segments.len() as u32;
            segments.push(work);
            let pointer = self.append(Expression::AccessIndex { base: self.executed, index });
            let before = self.append(Expression::Load { pointer });
            let sum = self.append(Expression::Binary { op: BinaryOperator::Add, left: before, right: self.one });
            block.push(Statement::Emit(Range::new_from_bounds(pointer, sum)), Span::UNDEFINED);
            block.push(Statement::Store { pointer, value: sum }, Span::UNDEFINED);
        }
        block.extend_block(run);
    }

    /// Adds the lane's counters to the buffer wherever the entry point returns.
    fn hand_over(&mut self, segments: u32) {
        let body = std::mem::take(&mut self.function.body);
        let ends = matches!(body.last(), Some(Statement::Return { .. }));
        self.function.body = rewrite(body, &mut |statement, span, out| {
            if matches!(statement, Statement::Return { .. }) {
                out.append(&mut self.additions(segments));
            }
            out.push(statement, span);
        });
        if !ends {
            let mut last = self.additions(segments);
            self.function.body.append(&mut last);
        }
    }

    /// `old = atomicAdd(low, here); if old > ~here { atomicAdd(high, 1) }` for every segment.
    fn additions(&mut self, segments: u32) -> Block {
        let mut block = Block::new();
        let counters = self.append(Expression::GlobalVariable(self.globals.counters));
        let result = Expression::AtomicResult { ty: self.globals.word, comparison: false };
        for index in 0..segments {
            let at = self.append(Expression::AccessIndex { base: self.executed, index });
            let here = self.append(Expression::Load { pointer: at });
            let most = self.append(Expression::Unary { op: UnaryOperator::BitwiseNot, expr: here });
            let low = self.append(Expression::AccessIndex { base: counters, index: COUNTER * index });
            let high = self.append(Expression::AccessIndex { base: counters, index: COUNTER * index + 1 });
            let old = self.append(result.clone());
            let carries = self.append(Expression::Binary { op: BinaryOperator::Greater, left: old, right: most });
            let carried = self.append(result.clone());
            let add = |pointer, value, result| Statement::Atomic {
                pointer,
                fun: AtomicFunction::Add,
                value,
                result: Some(result),
            };
            let accept = Block::from_vec(vec![add(high, self.one, carried)]);
            block.extend_block(Block::from_vec(vec![
                Statement::Emit(Range::new_from_bounds(at, high)),
                add(low, here, old),
                Statement::Emit(Range::new_from_bounds(carries, carries)),
                Statement::If { condition: carries, accept, reject: Block::new() },
            ]));
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::gpu::shaders::ALL;
    use wgpu::naga::valid::{Capabilities, ValidationFlags, Validator};

    #[test]
    fn every_kernel_stays_valid_with_counters_in_it() {
        for kernel in ALL {
            for defined in kernel.variants {
                let counted = Counted::new(&kernel.wgsl(defined)).unwrap();
                Validator::new(ValidationFlags::all(), Capabilities::empty())
                    .validate(&counted.module)
                    .unwrap_or_else(|e| panic!("{} {defined:?}: {e:?}", kernel.name));
                assert!(!counted.segments.is_empty(), "{}", kernel.name);
            }
        }
    }

    #[test]
    fn segments_cost_what_their_text_says() {
        let source = "
            @group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
            @group(0) @binding(1) var<storage, read_write> out: array<f32>;
            @group(0) @binding(2) var<storage, read_write> n: atomic<u32>;
            fn half(x: f32) -> f32 { return 0.5 * x; }
            @compute @workgroup_size(1)
            fn main(@builtin(global_invocation_id) id: vec3<u32>) {
                let k = atomicAdd(&n, 1u);
                if id.x >= 4u { return; }
                var sum = vec4<f32>(0.0);
                for (var q = 0u; q < k; q++) { sum += a[q] * a[q + 1u]; }
                out[id.x] = half(sum.x) + sum.y + sum.z;
            }";
        let counted = Counted::new(source).unwrap();
        let work = |read_bytes, written_bytes, multiply_adds| Work { read_bytes, written_bytes, multiply_adds };
        // The function; the atomic; the loop's body; what is behind the loop.
        let mut expected = vec![work(0, 0, 1), work(4, 4, 0), work(32, 0, 4), work(0, 4, 2)];
        let mut found = counted.segments.clone();
        let order = |w: &Work| (w.read_bytes, w.written_bytes, w.multiply_adds);
        expected.sort_by_key(order);
        found.sort_by_key(order);
        assert_eq!(found, expected);
    }

    #[test]
    fn counters_wider_than_a_word_are_read_whole() {
        let segment = Work { read_bytes: 2, written_bytes: 1, multiply_adds: 0 };
        let work = Counted::work(&[segment, segment], &[3, 1, 5, 0]);
        assert_eq!((work.read_bytes, work.written_bytes), (2 * ((1 << 32) + 8), (1 << 32) + 8));
    }

    #[test]
    fn broken_text_is_an_error() {
        assert!(matches!(Counted::new("fn main( {"), Err(Error::Device(_))));
    }
}
