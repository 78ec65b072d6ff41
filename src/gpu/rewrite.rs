//! Shared by the instruments, which insert statements into a kernel before it is compiled: parsing its text and visiting
//! its statements.

use crate::error::{Error, Result};
use wgpu::naga::valid::{Capabilities, FunctionInfo, ModuleInfo, ValidationFlags, Validator};
use wgpu::naga::{Block, Expression, Function, Handle, Module, Span, Statement, SwitchCase, TypeInner};

/// The bind group of the buffers that such statements write; the kernels use group 0.
pub const GROUP: u32 = 1;

/// A shader as a module, with the types of its expressions.
///
/// # Errors
/// WGSL that is not valid.
pub fn parse(source: &str) -> Result<(Module, ModuleInfo)> {
    let broken = |e: String| Error::Device(format!("a shader cannot be instrumented: {e}"));
    let module = wgpu::naga::front::wgsl::parse_str(source).map_err(|e| broken(e.emit_to_string(source)))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all())
        .validate(&module)
        .map_err(|e| broken(e.emit_to_string(source)))?;
    Ok((module, info))
}

/// A function before it is changed, and the types of its expressions.
pub struct Text<'a> {
    /// Its module.
    pub module: &'a Module,
    /// The function.
    pub function: &'a Function,
    /// The outcome of its validation.
    pub info: &'a FunctionInfo,
}

impl Text<'_> {
    /// The type of an expression.
    pub fn inner(&self, expression: Handle<Expression>) -> &TypeInner {
        self.info[expression].ty.inner_with(&self.module.types)
    }
}

/// The blocks inside a statement.
pub fn inner_blocks(statement: &mut Statement) -> Vec<&mut Block> {
    match statement {
        Statement::Block(block) => vec![block],
        Statement::If { accept, reject, .. } => vec![accept, reject],
        Statement::Switch { cases, .. } => cases.iter_mut().map(|SwitchCase { body, .. }| body).collect(),
        Statement::Loop { body, continuing, .. } => vec![body, continuing],
        _ => Vec::new(),
    }
}

/// Passes every statement to `put`, which appends its replacement; those of inner blocks come before the statement around
/// them.
pub fn rewrite(block: Block, put: &mut impl FnMut(Statement, Span, &mut Block)) -> Block {
    let mut out = Block::new();
    for (mut statement, span) in block.span_into_iter() {
        for inner in inner_blocks(&mut statement) {
            *inner = rewrite(std::mem::take(inner), put);
        }
        put(statement, span, &mut out);
    }
    out
}
