//! A kernel that logs its accesses: after each load, store and atomic operation on memory that several invocations can access
//! and some may write, a call appends a record to a buffer (`shaders/instrument/accesses.wgsl`). The kernel computes the same
//! bits.

use super::super::rewrite::{Text, inner_blocks, parse, rewrite};
use crate::error::{Error, Result};
use std::fmt;
use wgpu::naga::{
    AddressSpace, Barrier, BinaryOperator, Binding, Block, BuiltIn, Expression, Function, FunctionArgument,
    GlobalVariable, Handle, Literal, Module, Range, Scalar, ScalarKind, Span, Statement, StorageAccess, Type,
    TypeInner,
};

/// Prepended to a kernel.
const PRELUDE: &str = include_str!("../../../shaders/instrument/accesses.wgsl");
/// Most sites in a kernel, as a record has 12 bits for them.
const MOST_SITES: usize = 1 << 12;

/// The kind of an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An atomic store.
    AtomicWrite,
    /// An atomic load or read-modify-write operation.
    Atomic,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Kind::Read => "read",
            Kind::Write => "written",
            Kind::AtomicWrite => "written atomically",
            Kind::Atomic => "read or changed atomically",
        })
    }
}

/// The memory of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The storage buffer of a binding.
    Binding(u32),
    /// Workgroup memory, and its words.
    Workgroup(u32),
}

/// A variable whose accesses are logged.
#[derive(Debug, Clone)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its memory.
    pub place: Place,
}

/// A place in a kernel that accesses memory.
#[derive(Debug, Clone)]
pub struct Site {
    /// The variable.
    pub variable: usize,
    /// Number of consecutive words that it accesses.
    pub words: u32,
    /// Its kind.
    pub kind: Kind,
    /// Whether the record holds the value, as for stores of a single word.
    pub has_value: bool,
    /// Line in the text of the variant, from 1.
    pub line: u32,
    /// The text of that line.
    pub text: String,
}

/// The variables and accesses that the records of a kernel refer to.
#[derive(Debug, Clone, Default)]
pub struct Sites {
    /// The variables.
    pub variables: Vec<Variable>,
    /// The accesses.
    pub sites: Vec<Site>,
}

/// A kernel that logs.
pub struct Logged {
    /// The kernel to compile. Group 1, binding 0 is the log.
    pub module: Module,
    /// The meaning of its records.
    pub sites: Sites,
}

/// The functions of the prelude.
#[derive(Clone, Copy)]
struct Calls {
    begin: Handle<Function>,
    storage: Handle<Function>,
    workgroup: Handle<Function>,
    barrier: Handle<Function>,
}

fn unfit(what: &str) -> Error {
    Error::Device(format!("the accesses of a shader cannot be logged: {what}"))
}

impl Logged {
    /// Makes a shader of one entry point log.
    ///
    /// # Errors
    /// WGSL that is not valid, or that hands pointers to shared memory to a function.
    pub fn new(source: &str) -> Result<Self> {
        let text = [PRELUDE, source].concat();
        let (original, info) = parse(&text)?;
        let mut module = original.clone();
        let call = |name: &str| {
            let found = original.functions.iter().find(|(_, function)| function.name.as_deref() == Some(name));
            found.map(|(handle, _)| handle).ok_or_else(|| unfit("the prelude has changed"))
        };
        let calls = Calls {
            begin: call("access_begin")?,
            storage: call("access_storage")?,
            workgroup: call("access_workgroup")?,
            barrier: call("access_barrier")?,
        };
        let mut sites = Sites::default();
        let mut variables = Variables { module: &original, source: &text, sites: &mut sites };
        for (handle, function) in module.functions.iter_mut() {
            if !function.name.as_deref().is_some_and(|name| name.starts_with("access_")) {
                let text = Text { module: &original, function: &original.functions[handle], info: &info[handle] };
                Writer { text, function, calls, variables: &mut variables }.log()?;
            }
        }
        let [entry] = &mut module.entry_points[..] else { return Err(unfit("it has not one entry point")) };
        let text =
            Text { module: &original, function: &original.entry_points[0].function, info: info.get_entry_point(0) };
        Writer { text, function: &mut entry.function, calls, variables: &mut variables }.log()?;
        let mut word = |inner| module.types.insert(Type { name: None, inner }, Span::UNDEFINED);
        let types = [
            word(TypeInner::Vector { size: wgpu::naga::VectorSize::Tri, scalar: Scalar::U32 }),
            word(TypeInner::Scalar(Scalar::U32)),
        ];
        begin(&mut entry.function, calls, types);
        if sites.sites.len() > MOST_SITES {
            return Err(unfit("it accesses memory in too many places"));
        }
        Ok(Logged { module, sites })
    }
}

/// Makes an entry point store at its beginning which invocation it is.
fn begin(function: &mut Function, calls: Calls, [vector, word]: [Handle<Type>; 2]) {
    let mut argument = |builtin, ty| {
        let binding = Some(Binding::BuiltIn(builtin));
        let index = function.arguments.iter().position(|argument| argument.binding == binding).unwrap_or_else(|| {
            function.arguments.push(FunctionArgument { name: None, ty, binding });
            function.arguments.len() - 1
        });
        function.expressions.append(Expression::FunctionArgument(index as u32), Span::UNDEFINED)
    };
    let arguments = vec![argument(BuiltIn::WorkGroupId, vector), argument(BuiltIn::LocalInvocationIndex, word)];
    let mut body = Block::from_vec(vec![Statement::Call { function: calls.begin, arguments, result: None }]);
    body.extend_block(std::mem::take(&mut function.body));
    function.body = body;
}

/// Collects the variables and sites.
struct Variables<'a> {
    module: &'a Module,
    /// The whole text, with the prelude.
    source: &'a str,
    sites: &'a mut Sites,
}

impl Variables<'_> {
    fn shared(variable: &GlobalVariable) -> bool {
        match variable.space {
            AddressSpace::Storage { access } => access.contains(StorageAccess::STORE),
            AddressSpace::WorkGroup => true,
            _ => false,
        }
    }

    fn number(&mut self, handle: Handle<GlobalVariable>) -> usize {
        let variable = &self.module.global_variables[handle];
        let name = variable.name.clone().unwrap_or_default();
        let known = self.sites.variables.iter().position(|known| known.name == name);
        known.unwrap_or_else(|| {
            let words = self.module.types[variable.ty].inner.size(self.module.to_ctx()) / 4;
            let place = variable.binding.map_or(Place::Workgroup(words), |binding| Place::Binding(binding.binding));
            self.sites.variables.push(Variable { name, place });
            self.sites.variables.len() - 1
        })
    }

    /// A new site; its number.
    fn site(&mut self, handle: Handle<GlobalVariable>, words: u32, kind: Kind, has_value: bool, span: Span) -> u32 {
        let line = span.location(self.source).line_number;
        let text = self.source.lines().nth(line.max(1) as usize - 1).unwrap_or_default().trim().to_string();
        let line = line.saturating_sub(PRELUDE.lines().count() as u32);
        let variable = self.number(handle);
        self.sites.sites.push(Site { variable, words, kind, has_value, line, text });
        self.sites.sites.len() as u32 - 1
    }
}

/// The target of a pointer.
struct Target {
    variable: Handle<GlobalVariable>,
    /// Words from the variable's beginning: an index times so many words, each, and so many words.
    terms: Vec<(Handle<Expression>, u32)>,
    offset: u32,
}

/// Writes into a function.
struct Writer<'a, 'b, 'c> {
    text: Text<'a>,
    function: &'b mut Function,
    calls: Calls,
    variables: &'b mut Variables<'c>,
}

impl Writer<'_, '_, '_> {
    fn log(mut self) -> Result<()> {
        let body = std::mem::take(&mut self.function.body);
        let mut trouble = None;
        self.function.body = rewrite(body, &mut |statement, span, out| {
            if let Err(error) = self.put(statement, span, out) {
                trouble.get_or_insert(error);
            }
        });
        trouble.map_or(Ok(()), Err)
    }

    fn put(&mut self, mut statement: Statement, span: Span, out: &mut Block) -> Result<()> {
        // Inner blocks are done.
        if !inner_blocks(&mut statement).is_empty() {
            out.push(statement, span);
            return Ok(());
        }
        let kept = statement.clone();
        match statement {
            Statement::Emit(range) => {
                out.push(kept, span);
                for expression in range {
                    if let Expression::Load { pointer } = self.text.function.expressions[expression] {
                        let span = self.text.function.expressions.get_span(expression);
                        self.access(pointer, Kind::Read, None, span, out)?;
                    }
                }
            }
            Statement::Store { pointer, value } => {
                out.push(kept, span);
                self.access(pointer, Kind::Write, Some(value), span, out)?;
            }
            Statement::Atomic { pointer, .. } => {
                out.push(kept, span);
                self.access(pointer, Kind::Atomic, None, span, out)?;
            }
            Statement::ControlBarrier(memory) => {
                out.push(kept, span);
                self.barrier(memory, out);
            }
            Statement::WorkGroupUniformLoad { pointer, .. } => {
                self.barrier(Barrier::WORK_GROUP, out);
                out.push(kept, span);
                self.access(pointer, Kind::Read, None, span, out)?;
                self.barrier(Barrier::WORK_GROUP, out);
            }
            Statement::Call { ref arguments, .. } => {
                for &argument in arguments {
                    let points = self.text.inner(argument).pointer_space().is_some();
                    if points && self.target(argument)?.is_some() {
                        return Err(unfit("a function takes a pointer to shared memory"));
                    }
                }
                out.push(kept, span);
            }
            _ => out.push(kept, span),
        }
        Ok(())
    }

    fn append(&mut self, expression: Expression) -> Handle<Expression> {
        self.function.expressions.append(expression, Span::UNDEFINED)
    }

    fn literal(&mut self, word: u32) -> Handle<Expression> {
        self.append(Expression::Literal(Literal::U32(word)))
    }

    fn barrier(&mut self, memory: Barrier, out: &mut Block) {
        let one_if = |flag| u32::from(memory.contains(flag));
        let arguments = vec![self.literal(one_if(Barrier::STORAGE)), self.literal(one_if(Barrier::WORK_GROUP))];
        out.push(Statement::Call { function: self.calls.barrier, arguments, result: None }, Span::UNDEFINED);
    }

    /// The target of a pointer; `None` if no other invocation can access it, or none writes it.
    fn target(&self, pointer: Handle<Expression>) -> Result<Option<Target>> {
        let mut target = match self.text.function.expressions[pointer] {
            Expression::GlobalVariable(variable) => {
                let shared = Variables::shared(&self.text.module.global_variables[variable]);
                return Ok(shared.then(|| Target { variable, terms: Vec::new(), offset: 0 }));
            }
            Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => match self.target(base)? {
                Some(target) => target,
                None => return Ok(None),
            },
            Expression::FunctionArgument(_) => {
                let own = self.text.inner(pointer).pointer_space().is_none_or(|space| space == AddressSpace::Function);
                return if own { Ok(None) } else { Err(unfit("a function takes a pointer to shared memory")) };
            }
            _ => return Ok(None),
        };
        match self.text.function.expressions[pointer] {
            Expression::Access { base, index } => target.terms.push((index, self.stride(base)?)),
            Expression::AccessIndex { base, index } => match self.pointee(base) {
                TypeInner::Struct { members, .. } => target.offset += members[index as usize].offset / 4,
                _ => target.offset += index * self.stride(base)?,
            },
            _ => {}
        }
        Ok(Some(target))
    }

    /// The type that a pointer points to.
    fn pointee(&self, pointer: Handle<Expression>) -> TypeInner {
        match *self.text.inner(pointer) {
            TypeInner::Pointer { base, .. } => self.text.module.types[base].inner.clone(),
            TypeInner::ValuePointer { size: Some(size), scalar, .. } => TypeInner::Vector { size, scalar },
            TypeInner::ValuePointer { size: None, scalar, .. } => TypeInner::Scalar(scalar),
            ref other => other.clone(),
        }
    }

    /// Words from one element of the array behind a pointer to the next.
    fn stride(&self, pointer: Handle<Expression>) -> Result<u32> {
        let bytes = match self.pointee(pointer) {
            TypeInner::Array { stride, .. } => stride,
            TypeInner::Vector { scalar, .. } => u32::from(scalar.width),
            _ => return Err(unfit("it indexes something other than an array or a vector")),
        };
        if bytes % 4 != 0 { Err(unfit("it has elements that are no words")) } else { Ok(bytes / 4) }
    }

    /// Appends the record of an access.
    fn access(
        &mut self,
        pointer: Handle<Expression>,
        kind: Kind,
        value: Option<Handle<Expression>>,
        span: Span,
        out: &mut Block,
    ) -> Result<()> {
        let Some(Target { variable, terms, offset }) = self.target(pointer)? else { return Ok(()) };
        let accessed = self.pointee(pointer);
        let words = accessed.size(self.text.module.to_ctx()).div_ceil(4);
        let kind = match (&accessed, kind) {
            (TypeInner::Atomic(_), Kind::Write) => Kind::AtomicWrite,
            (TypeInner::Atomic(_), _) => Kind::Atomic,
            _ => kind,
        };
        let single = value.filter(|&value| {
            matches!(kind, Kind::Write | Kind::AtomicWrite)
                && matches!(self.text.inner(value), TypeInner::Scalar(Scalar { kind, width: 4 }) if *kind != ScalarKind::Bool)
        });
        // Literals are not emitted, and emitted expressions must be consecutive.
        let site = self.variables.site(variable, words, kind, single.is_some(), span);
        let [site, offset, none] = [site, offset, 0].map(|word| self.literal(word));
        let strides: Vec<_> = terms.iter().map(|&(_, stride)| self.literal(stride)).collect();
        let first = self.function.expressions.len();
        let mut word = offset;
        for (&(index, _), &stride) in terms.iter().zip(&strides) {
            let index = self.as_word(index);
            let product = self.append(Expression::Binary { op: BinaryOperator::Multiply, left: index, right: stride });
            word = self.append(Expression::Binary { op: BinaryOperator::Add, left: word, right: product });
        }
        let value = single.map_or(none, |value| self.as_word(value));
        let emitted =
            Range::from_index_range(first as u32..self.function.expressions.len() as u32, &self.function.expressions);
        if self.function.expressions.len() > first {
            out.push(Statement::Emit(emitted), Span::UNDEFINED);
        }
        let function = match self.text.module.global_variables[variable].space {
            AddressSpace::WorkGroup => self.calls.workgroup,
            _ => self.calls.storage,
        };
        let arguments = vec![word, site, value];
        out.push(Statement::Call { function, arguments, result: None }, Span::UNDEFINED);
        Ok(())
    }

    /// The bits of a scalar as u32.
    fn as_word(&mut self, expr: Handle<Expression>) -> Handle<Expression> {
        match *self.text.inner(expr) {
            TypeInner::Scalar(Scalar::U32) => expr,
            _ => self.append(Expression::As { expr, kind: ScalarKind::Uint, convert: None }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::shaders::ALL;
    use wgpu::naga::valid::{Capabilities, ValidationFlags, Validator};

    #[test]
    fn every_kernel_stays_valid_when_it_logs() {
        for kernel in ALL {
            for defined in kernel.variants {
                let logged = Logged::new(&kernel.wgsl(defined)).unwrap();
                Validator::new(ValidationFlags::all(), Capabilities::empty())
                    .validate(&logged.module)
                    .unwrap_or_else(|e| panic!("{} {defined:?}: {e:?}", kernel.name));
                let stores = logged.sites.sites.iter().any(|site| site.kind != Kind::Read);
                assert!(stores, "{} {defined:?} writes nothing", kernel.name);
            }
        }
    }

    #[test]
    fn sites_are_what_the_text_says() {
        let source = "
            struct Pair { a: u32, b: array<vec4<f32>, 2> }
            @group(0) @binding(3) var<storage, read> given: array<u32>;
            @group(0) @binding(1) var<storage, read_write> pairs: array<Pair>;
            @group(0) @binding(2) var<storage, read_write> n: atomic<u32>;
            var<workgroup> tile: array<f32, 8>;
            var<private> own: u32;
            fn put(k: u32, x: f32) { tile[k] = x; }
            @compute @workgroup_size(8)
            fn main(@builtin(global_invocation_id) id: vec3<u32>) {
                own = given[id.x];
                put(own, pairs[own].b[1].z);
                workgroupBarrier();
                pairs[id.x].b[0] = vec4<f32>(tile[0]);
                pairs[id.x].a = atomicAdd(&n, 1u) + atomicLoad(&n);
                atomicStore(&n, 3u);
            }";
        let Sites { variables, sites } = Logged::new(source).unwrap().sites;
        let found: Vec<_> = sites
            .iter()
            .map(|site| (variables[site.variable].name.as_str(), site.kind, site.words, site.has_value, site.line))
            .collect();
        use Kind::{Atomic, AtomicWrite, Read, Write};
        let mut expected = vec![
            ("tile", Write, 1, true, 8),
            ("pairs", Read, 1, false, 12),
            ("tile", Read, 1, false, 14),
            ("pairs", Write, 4, false, 14),
            ("n", Atomic, 1, false, 15),
            ("n", Atomic, 1, false, 15),
            ("pairs", Write, 1, true, 15),
            ("n", AtomicWrite, 1, true, 16),
        ];
        let mut sorted = found.clone();
        sorted.sort();
        expected.sort();
        assert_eq!(sorted, expected);
        assert_eq!(sites[0].text, "fn put(k: u32, x: f32) { tile[k] = x; }");
        let place = |name| variables.iter().find(|variable| variable.name == name).unwrap().place;
        assert_eq!(
            (place("tile"), place("pairs"), place("n")),
            (Place::Workgroup(8), Place::Binding(1), Place::Binding(2))
        );
    }

    #[test]
    fn what_cannot_be_followed_is_an_error() {
        let pointer = "
            var<workgroup> x: array<u32, 4>;
            fn put(p: ptr<workgroup, array<u32, 4>>) { (*p)[0] = 1u; }
            @compute @workgroup_size(1) fn main() { put(&x); }";
        for broken in ["fn main( {", pointer] {
            assert!(matches!(Logged::new(broken), Err(Error::Device(_))), "{broken}");
        }
    }
}
