//! Checks all variants of all shaders without a GPU: they are valid WGSL without capabilities, can be translated to SPIR-V
//! (validated with spirv-val), MSL, HLSL, GLSL ES and back to WGSL, and do not contain constructs known to fail there.
//! Uniform structs and bindings are those that the host fills in. `tests/scheduling.rs` checks that these are exactly the
//! variants that steps use.

use naga::back::pipeline_constants::process_overrides;
use naga::back::{glsl, hlsl, msl, spv, wgsl};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};
use naga::{AddressSpace, Expression, Function, ShaderStage, Statement, TypeInner};
use spikegrad::gpu::count::Counted;
use spikegrad::gpu::interface::{Interface, fields};
use spikegrad::gpu::params::{Params, UNIFORMS, Uniform};
use spikegrad::gpu::races::Logged;
use spikegrad::gpu::shaders::{ALL, Constants, MEASURES, Program, variants};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

#[path = "shaders/browsers.rs"]
mod browsers;

/// Without any capability.
fn validator() -> Validator {
    Validator::new(ValidationFlags::all(), Capabilities::empty())
}

/// A module with its pipeline-overridable constants replaced, as wgpu replaces them for every backend.
fn specialised(
    name: &str,
    module: &naga::Module,
    info: &ModuleInfo,
    constants: &Constants,
) -> (naga::Module, ModuleInfo) {
    let values = constants.iter().map(|&(name, value)| (name.to_string(), f64::from(value))).collect();
    let replaced = process_overrides(module, info, Some((ShaderStage::Compute, "main")), &values);
    let (module, info) = replaced.unwrap_or_else(|e| panic!("{name}: {e}"));
    (module.into_owned(), info.into_owned())
}

/// Calls `check` with each program's name, module and validation: of each variant, every value of its constants.
fn each(mut check: impl FnMut(&str, &naga::Module, &ModuleInfo)) {
    let mut count = 0;
    for (kernel, defined) in variants() {
        let name = kernel.variant_name(defined);
        let source = kernel.wgsl(defined);
        let module =
            naga::front::wgsl::parse_str(&source).unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&source)));
        let info = validator().validate(&module).unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&source)));
        for program in kernel.programs(defined) {
            let name = program.name();
            let (module, info) = specialised(&name, &module, &info, &program.constants);
            check(&name, &module, &info);
            count += 1;
        }
    }
    assert!(count >= ALL.len(), "every kernel has a variant");
}

/// What wgpu is told of a kernel's constants is what its text declares, with the paper's network as the default.
#[test]
fn constants_are_those_that_the_texts_declare() {
    let mut seen = std::collections::BTreeSet::new();
    for (kernel, defined) in variants() {
        let module = naga::front::wgsl::parse_str(&kernel.wgsl(defined)).unwrap();
        let mut declared = Vec::new();
        for (_, constant) in module.overrides.iter() {
            // Those that follow from others are not for the host.
            let Expression::Literal(default) = module.global_expressions[constant.init.unwrap()] else { continue };
            let name = constant.name.clone().unwrap();
            match default {
                naga::Literal::Bool(false) | naga::Literal::U32(0) => {}
                naga::Literal::U32(128 | 256) if name == "LANES" => {}
                other => panic!("{}: {name} = {other:?}", kernel.name),
            }
            declared.push(name);
        }
        let mut known: Vec<String> = kernel.overrides(defined).into_iter().map(|(name, _)| name.into()).collect();
        declared.sort();
        known.sort();
        assert_eq!(declared, known, "{}", kernel.variant_name(defined));
        seen.extend(known);
    }
    assert_eq!(seen.len(), spikegrad::gpu::shaders::OVERRIDES.len());
    // A program has what it is asked for, as far as its kernel knows of it.
    let asked = [("CUBA", 1), ("SURROGATE", 2)];
    let constants = |kernel| Program::new(kernel, &[], &asked).constants;
    assert_eq!(constants(spikegrad::gpu::shaders::LIF_FORWARD), asked);
    assert_eq!(constants(spikegrad::gpu::shaders::DELTA), asked[..1]);
    assert_eq!(constants(spikegrad::gpu::shaders::ADAM), []);
}

#[test]
fn folder_and_list_agree() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/shaders");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_string())
        .collect();
    files.sort();
    let mut names: Vec<&str> = ALL.iter().map(|kernel| kernel.name).collect();
    names.sort();
    assert_eq!(files, names);
}

#[test]
fn valid_without_capabilities_and_within_default_limits() {
    each(|name, module, _| {
        assert_eq!(module.entry_points.len(), 1, "{name}");
        let entry = &module.entry_points[0];
        assert_eq!((entry.stage, entry.name.as_str()), (ShaderStage::Compute, "main"), "{name}");
        let lanes: u32 = entry.workgroup_size.iter().product();
        assert!(lanes <= 256, "{name}: {lanes} invocations");
        // What a device gets that allows no more than 64: the constant of 64 lanes, where there is one, and one quad a lane.
        let kernel = ALL.iter().chain(MEASURES).find(|kernel| name.split('+').next() == Some(kernel.name)).unwrap();
        let chosen = kernel.overrides(kernel.variants[0]).iter().any(|&(constant, _)| constant == "LANES");
        let for_all =
            (name.contains("+LANES=64") || !chosen) && !(name.contains("lif_forward") && name.contains("WIDE"));
        assert!(!for_all || lanes <= 64, "{name}: {lanes} invocations");
        let mut storage = 0;
        let mut workgroup_bytes = 0;
        for (_, variable) in module.global_variables.iter() {
            match variable.space {
                naga::AddressSpace::Storage { .. } => storage += 1,
                naga::AddressSpace::WorkGroup => {
                    workgroup_bytes += module.types[variable.ty].inner.size(module.to_ctx());
                }
                _ => {}
            }
        }
        assert!(storage <= 8, "{name}: {storage} storage bindings");
        let most = if for_all { 8 << 10 } else { 16 << 10 };
        assert!(workgroup_bytes <= most, "{name}: {workgroup_bytes} bytes of workgroup memory");
    });
}

#[test]
fn no_float_atomics_and_no_workgroup_counts() {
    each(|name, module, _| {
        for (_, ty) in module.types.iter() {
            if let TypeInner::Atomic(scalar) = ty.inner {
                assert_eq!(scalar.kind, naga::ScalarKind::Uint, "{name}");
            }
        }
        // `num_workgroups` is 0 for indirect dispatches on DX12.
        for argument in &module.entry_points[0].function.arguments {
            let counts = Some(naga::Binding::BuiltIn(naga::BuiltIn::NumWorkGroups));
            assert_ne!(argument.binding, counts, "{name}");
        }
    });
}

/// As wgpu's Vulkan backend translates, with bounds checks and loop bounding or without; no capability beyond those that
/// every Vulkan device has.
fn to_spirv(module: &naga::Module, info: &ModuleInfo, checked: bool) -> Result<Vec<u32>, String> {
    let policy = if checked { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked };
    let options = spv::Options {
        lang_version: (1, 3),
        capabilities: Some([spv::Capability::Shader, spv::Capability::Matrix].into_iter().collect()),
        bounds_check_policies: BoundsCheckPolicies { index: policy, buffer: policy, ..Default::default() },
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: checked,
        ..Default::default()
    };
    spv::write_vec(module, info, &options, None).map_err(|e| e.to_string())
}

fn to_msl(module: &naga::Module, info: &ModuleInfo) -> Result<String, String> {
    let options = msl::Options { lang_version: (2, 1), fake_missing_bindings: true, ..Default::default() };
    let written = msl::write_string(module, info, &options, &msl::PipelineOptions::default());
    written.map(|(text, _)| text).map_err(|e| e.to_string())
}

/// As wgpu's DX12 backend translates, with bounds checks and loop bounding or without.
fn to_hlsl(
    module: &naga::Module,
    info: &ModuleInfo,
    shader_model: hlsl::ShaderModel,
    checked: bool,
) -> Result<String, String> {
    let mut text = String::new();
    let options = hlsl::Options {
        shader_model,
        zero_initialize_workgroup_memory: false,
        restrict_indexing: checked,
        force_loop_bounding: checked,
        ..Default::default()
    };
    let pipeline = hlsl::PipelineOptions::default();
    hlsl::Writer::new(&mut text, &options, &pipeline).write(module, info, None).map_err(|e| e.to_string())?;
    Ok(text)
}

fn to_glsl(module: &naga::Module, info: &ModuleInfo) -> Result<String, String> {
    let mut text = String::new();
    let options =
        glsl::Options { version: glsl::Version::Embedded { version: 310, is_webgl: false }, ..Default::default() };
    let pipeline =
        glsl::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".into(), multiview: None };
    let policies = BoundsCheckPolicies { index: BoundsCheckPolicy::Restrict, ..BoundsCheckPolicies::default() };
    glsl::Writer::new(&mut text, module, info, &options, &pipeline, policies)
        .and_then(|mut writer| writer.write())
        .map_err(|e| e.to_string())?;
    Ok(text)
}

/// There and back: as valid as before, with the same bindings and workgroups.
fn to_wgsl(name: &str, module: &naga::Module, info: &ModuleInfo) -> Result<String, String> {
    let text = wgsl::write_string(module, info, wgsl::WriterFlags::empty()).map_err(|e| e.to_string())?;
    let again = naga::front::wgsl::parse_str(&text).map_err(|e| e.emit_to_string(&text))?;
    validator().validate(&again).map_err(|e| e.emit_to_string(&text))?;
    let outside = |module: &naga::Module| -> Vec<_> {
        let variables = module.global_variables.iter().filter_map(|(_, v)| Some((v.binding?, v.space)));
        let mut variables: Vec<_> = variables.map(|(binding, space)| format!("{binding:?} {space:?}")).collect();
        variables.sort();
        variables
    };
    assert_eq!(outside(&again), outside(module), "{name}");
    assert_eq!(again.entry_points[0].workgroup_size, module.entry_points[0].workgroup_size, "{name}");
    Ok(text)
}

/// Words that must not occur in a translation, and why.
const UNWANTED: [(&str, &str, &str); 10] = [
    ("MSL", "atomic_float", "float atomics are not deterministic"),
    ("MSL", "threadgroups_per_grid", "the number of workgroups is 0 for indirect dispatches on DX12"),
    ("MSL", "isnan", "Metal assumes that NaN does not occur"),
    ("MSL", "isinf", "Metal assumes that infinities do not occur"),
    ("HLSL", "NagaConstants", "the number of workgroups is 0 for indirect dispatches on DX12"),
    ("HLSL", "isnan", "FXC removes it"),
    ("HLSL", "isinf", "FXC removes it"),
    ("HLSL", "[unroll]", "FXC gives up on long loops"),
    ("HLSL", "double", "optional on DX12"),
    ("GLSL ES", "gl_NumWorkGroups", "the number of workgroups is 0 for indirect dispatches on DX12"),
];

#[test]
fn translated_to_every_backend_language() {
    each(|name, module, info| {
        let texts = [
            ("MSL", to_msl(module, info)),
            ("HLSL", to_hlsl(module, info, hlsl::ShaderModel::V5_1, true)),
            ("GLSL ES", to_glsl(module, info)),
            ("WGSL", to_wgsl(name, module, info)),
        ];
        for (language, text) in texts {
            let text = text.unwrap_or_else(|e| panic!("{name} to {language}: {e}"));
            assert!(text.len() > 100, "{name} to {language}: nothing came out");
            for (_, word, why) in UNWANTED.iter().filter(|(of, ..)| *of == language) {
                assert!(!text.contains(word), "{name} to {language}: {word}: {why}\n{text}");
            }
            for line in text.lines().filter(|line| line.contains("Interlocked") || line.contains("atomic_fetch")) {
                assert!(!line.contains("float"), "{name} to {language}: a float atomic: {line}");
            }
        }
    });
}

/// Writes every variant as HLSL into the folder that SPIKEGRAD_HLSL names, for Microsoft's compilers: `dxc/` with bounds
/// checks and without, `fxc/` as releases run (checks make FXC slow).
#[test]
#[ignore = "scripts/cross dxc and scripts/cross fxc run it"]
fn hlsl_for_microsofts_compilers() {
    let folder = std::env::var("SPIKEGRAD_HLSL").expect("SPIKEGRAD_HLSL names no folder");
    let [dxc, fxc] = ["dxc", "fxc"].map(|name| Path::new(&folder).join(name));
    for folder in [&dxc, &fxc] {
        std::fs::create_dir_all(folder).unwrap();
    }
    each(|name, module, info| {
        let file = name.replace('/', "-");
        let write = |folder: &Path, model, checked| {
            let text = to_hlsl(module, info, model, checked).unwrap_or_else(|e| panic!("{name} to HLSL: {e}"));
            let how = if checked { "checked" } else { "unchecked" };
            std::fs::write(folder.join(format!("{file}.{how}.hlsl")), text).unwrap();
        };
        for checked in [true, false] {
            write(&dxc, hlsl::ShaderModel::V6_0, checked);
        }
        write(&fxc, hlsl::ShaderModel::V5_1, false);
    });
}

/// Every statement of a function, those of inner blocks after the one they stand in.
fn statements(block: &naga::Block) -> Vec<&Statement> {
    let mut all = Vec::new();
    for statement in block {
        all.push(statement);
        let inner: Vec<&naga::Block> = match statement {
            Statement::Block(block) => vec![block],
            Statement::If { accept, reject, .. } => vec![accept, reject],
            Statement::Loop { body, continuing, .. } => vec![body, continuing],
            Statement::Switch { cases, .. } => cases.iter().map(|case| &case.body).collect(),
            _ => vec![],
        };
        all.extend(inner.into_iter().flat_map(statements));
    }
    all
}

/// A lane that waits for another relies on forward progress, which Metal and WebGPU do not promise: no loop looks at an
/// atomic again and again.
#[test]
fn no_loop_waits() {
    each(|name, module, info| {
        if name.starts_with("lockstep_forward") {
            // What its loops load was stored before a barrier: tests/races.rs.
            return;
        }
        let own = module.entry_points.iter().map(|entry| (&entry.function, info.get_entry_point(0)));
        let functions = module.functions.iter().map(|(handle, function)| (function, &info[handle])).chain(own);
        for (function, info) in functions {
            let loops = statements(&function.body).into_iter().filter_map(|statement| match statement {
                Statement::Loop { body, continuing, .. } => Some([body, continuing]),
                _ => None,
            });
            for statement in loops.flatten().flat_map(statements) {
                let Statement::Emit(range) = statement else { continue };
                for expression in range.clone() {
                    let Expression::Load { pointer } = function.expressions[expression] else { continue };
                    let atomic = match *info[pointer].ty.inner_with(&module.types) {
                        TypeInner::Pointer { base, .. } => matches!(module.types[base].inner, TypeInner::Atomic(_)),
                        _ => false,
                    };
                    assert!(!atomic, "{name}: an atomic is loaded in a loop");
                }
            }
        }
    });
}

/// FXC, the compiler of Windows machines without DXC, cannot store to a component of a vector in registers by an index
/// that it does not know (X3500): it unrolls the loop around it, or gives up.
#[test]
fn no_component_of_a_vector_is_stored_by_index() {
    let mut found = Vec::new();
    each(|name, module, info| {
        let own = module.entry_points.iter().map(|entry| (&entry.function, info.get_entry_point(0)));
        let functions = module.functions.iter().map(|(handle, function)| (function, &info[handle])).chain(own);
        for (function, info) in functions {
            let function: &Function = function;
            for statement in statements(&function.body) {
                let Statement::Store { mut pointer, .. } = *statement else { continue };
                // Outwards from what is stored: component, column, matrix.
                loop {
                    let (base, computed) = match function.expressions[pointer] {
                        Expression::Access { base, .. } => (base, true),
                        Expression::AccessIndex { base, .. } => (base, false),
                        _ => break,
                    };
                    let registers = match *info[base].ty.inner_with(&module.types) {
                        TypeInner::Pointer { base, space: AddressSpace::Function | AddressSpace::Private } => {
                            matches!(module.types[base].inner, TypeInner::Vector { .. } | TypeInner::Matrix { .. })
                        }
                        TypeInner::ValuePointer {
                            size, space: AddressSpace::Function | AddressSpace::Private, ..
                        } => size.is_some(),
                        _ => false,
                    };
                    if computed && registers {
                        found.push(name.to_string());
                    }
                    pointer = base;
                }
            }
        }
    });
    assert!(found.is_empty(), "a component of a vector is stored by an index in {found:?}");
}

/// spirv-val on one module.
fn spirv_val(folder: &Path, name: &str, words: &[u32]) {
    let file = folder.join(format!("{}.spv", name.replace('/', "-")));
    std::fs::write(&file, words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    let run = Command::new("spirv-val").args(["--target-env", "vulkan1.1"]).arg(&file).output();
    let output = run.unwrap_or_else(|e| {
        panic!(
            "spirv-val: {e}; it comes with Debian's package spirv-tools (scripts/test installs it) or the Vulkan SDK"
        )
    });
    let complaint = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{name}: {complaint}");
}

/// SPIR-V with bounds checks and without, and of the shaders that count what they execute.
#[test]
fn spirv_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    each(|name, module, info| {
        for (checked, how) in [(true, "checked"), (false, "unchecked")] {
            let words = to_spirv(module, info, checked).unwrap_or_else(|e| panic!("{name} to SPIR-V: {e}"));
            spirv_val(folder.path(), &format!("{name}.{how}"), &words);
        }
    });
    for kernel in ALL {
        for defined in kernel.variants {
            let name = kernel.variant_name(defined);
            let text = kernel.wgsl(defined);
            let counted = ("counted", Counted::new(&text).unwrap().module);
            for (how, module) in [counted, ("logged", Logged::new(&text).unwrap().module)] {
                let info = validator().validate(&module).unwrap_or_else(|e| panic!("{name}, {how}: {e:?}"));
                // All constants at once: what is put into the text must survive their replacement.
                let constants = kernel.programs(defined).pop().unwrap().constants;
                let (module, info) = specialised(&name, &module, &info, &constants);
                let words = to_spirv(&module, &info, true).unwrap_or_else(|e| panic!("{name}, {how}: {e}"));
                spirv_val(folder.path(), &format!("{name}.{how}"), &words);
            }
        }
    }
}

/// The check refuses invalid SPIR-V, and capabilities that not every device has.
#[test]
fn what_is_not_portable_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let refused =
        std::panic::catch_unwind(|| spirv_val(folder.path(), "broken", &[0x0723_0203, 0x0001_0300, 0, 1, 0, 7]));
    assert!(refused.is_err(), "spirv-val took a broken module");
    let subgroups = "@compute @workgroup_size(64) fn main(@builtin(subgroup_size) n: u32) { _ = subgroupAdd(n); }";
    let module = naga::front::wgsl::parse_str(subgroups).unwrap();
    assert!(validator().validate(&module).is_err());
    let mut lenient = Validator::new(ValidationFlags::all(), Capabilities::all());
    lenient.subgroup_stages(ShaderStages::COMPUTE).subgroup_operations(SubgroupOperationSet::all());
    let info = lenient.validate(&module).unwrap();
    assert!(to_spirv(&module, &info, false).is_err());
}

/// Name, WGSL type and offset of each member of a struct of words.
fn members(module: &naga::Module, ty: &naga::Type) -> Vec<(String, String, u32)> {
    let TypeInner::Struct { members, .. } = &ty.inner else { panic!("{ty:?} is no struct") };
    let word = |ty| match module.types[ty].inner {
        TypeInner::Scalar(naga::Scalar::U32) => "u32",
        TypeInner::Scalar(naga::Scalar::F32) => "f32",
        ref other => panic!("{other:?} is no word"),
    };
    members.iter().map(|m| (m.name.clone().unwrap(), word(m.ty).to_string(), m.offset)).collect()
}

/// What naga finds in a kernel's text is what the host binds and uploads: binding 0 is the uniform `p`, of a struct that the
/// host fills in with the same fields at the same places; the names and kinds of the other bindings are those that
/// `Interface` scans.
#[test]
fn interfaces_are_those_that_naga_finds() {
    let mut structs = BTreeSet::new();
    for (kernel, defined) in variants() {
        let (name, text) = (kernel.variant_name(defined), kernel.wgsl(defined));
        let module = naga::front::wgsl::parse_str(&text).unwrap();
        let interface = Interface::of(&text);
        let mut bindings = BTreeMap::new();
        for (_, variable) in module.global_variables.iter() {
            let Some(naga::ResourceBinding { group, binding }) = variable.binding else { continue };
            let access = match variable.space {
                AddressSpace::Uniform => "uniform",
                AddressSpace::Storage { access } if access.contains(naga::StorageAccess::STORE) => "read_write",
                AddressSpace::Storage { .. } => "read",
                other => panic!("{name}: {other:?}"),
            };
            assert_eq!(group, 0, "{name}");
            let variable_name = variable.name.clone().unwrap();
            assert!(bindings.insert(binding, (variable_name, access.to_string(), variable.ty)).is_none(), "{name}");
            // Uniform structs: those that the host fills in, with its types, each field behind the one before it.
            let ty = &module.types[variable.ty];
            if access != "uniform" {
                continue;
            }
            let struct_name = ty.name.as_deref().unwrap();
            if struct_name == "Layers" {
                // An array of what binding 0 has.
                let TypeInner::Struct { members, .. } = &ty.inner else { panic!("{name}: {ty:?}") };
                let TypeInner::Array { base, stride, .. } = module.types[members[0].ty].inner else { panic!("{name}") };
                assert_eq!(module.types[base].name.as_deref(), Some("Params"), "{name}");
                assert_eq!(stride as usize, 4 * interface.fields.len(), "{name}");
                continue;
            }
            let (_, fields) = UNIFORMS.iter().find(|(of, _)| *of == struct_name).unwrap_or_else(|| {
                panic!("{name}: {struct_name} is not in src/gpu/params.rs");
            });
            structs.insert(struct_name.to_string());
            let members = members(&module, ty);
            for (k, (field, word, offset)) in members.iter().enumerate() {
                assert_eq!(*offset as usize, 4 * k, "{name}: {struct_name}.{field}");
                let unused = field.starts_with("unused_");
                assert!(
                    unused || fields.contains(&(field, word)),
                    "{name}: the host has no {field}: {word} in {struct_name}"
                );
            }
            let names: Vec<&str> = members.iter().map(|(field, ..)| field.as_str()).collect();
            if binding == 0 {
                assert_eq!(
                    (struct_name, &names),
                    (interface.uniform.as_str(), &interface.fields.iter().map(String::as_str).collect()),
                    "{name}"
                );
            }
            if struct_name != "Params" {
                assert_eq!(names, fields.iter().map(|(field, _)| *field).collect::<Vec<_>>(), "{name}: {struct_name}");
            }
        }
        assert!(bindings.keys().copied().eq(0..bindings.len() as u32), "{name}: {bindings:?}");
        let (p, access, _) = bindings.remove(&0).unwrap();
        assert_eq!((p.as_str(), access.as_str()), ("p", "uniform"), "{name}");
        let scanned = interface.bindings.into_iter().map(|binding| (binding.name, binding.access));
        assert_eq!(
            scanned.collect::<Vec<_>>(),
            bindings.into_values().map(|(n, a, _)| (n, a)).collect::<Vec<_>>(),
            "{name}"
        );
    }
    let known: BTreeSet<String> = UNIFORMS.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(structs, known, "structs of the kernels, structs of the host");
}

/// The fields of `Params` that a module reads.
fn params_read(module: &naga::Module) -> BTreeSet<String> {
    let mut read = BTreeSet::new();
    let info = validator().validate(module).unwrap();
    let Some((params, ty)) = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some("Params")) else {
        return read;
    };
    let names: Vec<String> = members(module, ty).into_iter().map(|(name, ..)| name).collect();
    let own = module.entry_points.iter().map(|entry| (&entry.function, info.get_entry_point(0)));
    for (function, info) in own.chain(module.functions.iter().map(|(handle, function)| (function, &info[handle]))) {
        for (_, expression) in function.expressions.iter() {
            let Expression::AccessIndex { base, index } = *expression else { continue };
            let is_params = match (info[base].ty.handle(), info[base].ty.inner_with(&module.types)) {
                (Some(ty), _) if ty == params => true,
                (_, &TypeInner::Pointer { base, .. }) => base == params,
                _ => false,
            };
            if is_params {
                read.insert(names[index as usize].clone());
            }
        }
    }
    read
}

/// Each kernel's `Params` has the fields that its text reads and no other; the glossary has those of the host, and none that
/// no kernel reads.
#[test]
fn params_have_the_fields_that_kernels_read() {
    let glossary = include_str!("../shaders/shared/params.wgsl");
    let explained: Vec<(&str, &str)> = fields(glossary, "Params").collect();
    assert_eq!(explained, Params::FIELDS, "shaders/shared/params.wgsl and src/gpu/params.rs");
    let mut read_by_some = BTreeSet::new();
    for (kernel, defined) in variants() {
        let text = kernel.wgsl(defined);
        let read = params_read(&naga::front::wgsl::parse_str(&text).unwrap());
        let declared = fields(&text, "Params").map(|(name, _)| name.to_string());
        let declared: BTreeSet<String> = declared.filter(|name| !name.starts_with("unused_")).collect();
        assert_eq!(declared, read, "{}", kernel.variant_name(defined));
        read_by_some.extend(read);
    }
    assert_eq!(read_by_some, Params::FIELDS.iter().map(|(name, _)| name.to_string()).collect());
}
