//! Every variant of every shader, without a GPU: valid WGSL under no capabilities, translated to SPIR-V, MSL, HLSL,
//! GLSL ES and WGSL again; and the uniform structs laid out as their Rust twins.

use naga::back::{glsl, hlsl, msl, spv, wgsl};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};
use naga::{ShaderStage, TypeInner};
use spikegrad::gpu::params::{AdamParams, GemmParams, Params, SumParams};
use spikegrad::gpu::shaders::{ALL, MEASURE_MULTIPLY_ADD, MEASURE_STREAM};

/// Without any capability, but for the variant that asks for one.
fn validator(defined: &[&str]) -> Validator {
    if !defined.contains(&"SUBGROUPS") {
        return Validator::new(ValidationFlags::all(), Capabilities::empty());
    }
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::SUBGROUP);
    validator.subgroup_stages(ShaderStages::COMPUTE).subgroup_operations(SubgroupOperationSet::all());
    validator
}

/// Calls `check` with each variant's name, module and validation.
fn each(mut check: impl FnMut(&str, &naga::Module, &ModuleInfo)) {
    let mut variants = 0;
    for kernel in ALL.iter().chain(&[MEASURE_STREAM, MEASURE_MULTIPLY_ADD]) {
        for defined in kernel.variants {
            let name = [&[kernel.name], *defined].concat().join("+");
            let source = kernel.wgsl(defined);
            let module = naga::front::wgsl::parse_str(&source)
                .unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&source)));
            let info = validator(defined)
                .validate(&module)
                .unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&source)));
            check(&name, &module, &info);
            variants += 1;
        }
    }
    assert!(variants >= ALL.len(), "every kernel has a variant");
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
        assert!(workgroup_bytes <= 16 << 10, "{name}: {workgroup_bytes} bytes of workgroup memory");
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

fn to_spirv(module: &naga::Module, info: &ModuleInfo) -> Result<usize, String> {
    let options = spv::Options { lang_version: (1, 3), ..Default::default() };
    spv::write_vec(module, info, &options, None).map(|words| words.len()).map_err(|e| e.to_string())
}

fn to_msl(module: &naga::Module, info: &ModuleInfo) -> Result<usize, String> {
    let options = msl::Options { fake_missing_bindings: true, ..Default::default() };
    msl::write_string(module, info, &options, &msl::PipelineOptions::default())
        .map(|(text, _)| text.len())
        .map_err(|e| e.to_string())
}

fn to_hlsl(module: &naga::Module, info: &ModuleInfo) -> Result<usize, String> {
    let mut text = String::new();
    let (options, pipeline) = (hlsl::Options::default(), hlsl::PipelineOptions::default());
    hlsl::Writer::new(&mut text, &options, &pipeline).write(module, info, None).map_err(|e| e.to_string())?;
    Ok(text.len())
}

fn to_glsl(module: &naga::Module, info: &ModuleInfo) -> Result<usize, String> {
    let mut text = String::new();
    let options =
        glsl::Options { version: glsl::Version::Embedded { version: 310, is_webgl: false }, ..Default::default() };
    let pipeline =
        glsl::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".into(), multiview: None };
    let policies = BoundsCheckPolicies { index: BoundsCheckPolicy::Restrict, ..BoundsCheckPolicies::default() };
    glsl::Writer::new(&mut text, module, info, &options, &pipeline, policies)
        .and_then(|mut writer| writer.write())
        .map_err(|e| e.to_string())?;
    Ok(text.len())
}

fn to_wgsl(module: &naga::Module, info: &ModuleInfo) -> Result<usize, String> {
    let text = wgsl::write_string(module, info, wgsl::WriterFlags::empty()).map_err(|e| e.to_string())?;
    naga::front::wgsl::parse_str(&text).map_err(|e| e.emit_to_string(&text))?;
    Ok(text.len())
}

/// Length of the translation.
type Translate = fn(&naga::Module, &ModuleInfo) -> Result<usize, String>;

#[test]
fn translated_to_every_backend_language() {
    let languages: [(&str, Translate); 5] =
        [("SPIR-V", to_spirv), ("MSL", to_msl), ("HLSL", to_hlsl), ("GLSL ES", to_glsl), ("WGSL", to_wgsl)];
    each(|name, module, info| {
        for (language, translate) in languages {
            let length = translate(module, info).unwrap_or_else(|e| panic!("{name} to {language}: {e}"));
            assert!(length > 100, "{name} to {language}: nothing came out");
        }
    });
}

/// Names and offsets of a WGSL struct's members, and its size.
fn layout(module: &naga::Module, name: &str) -> Option<(Vec<(String, u32)>, u32)> {
    module.types.iter().find_map(|(_, ty)| match (&ty.name, &ty.inner) {
        (Some(found), TypeInner::Struct { members, span }) if found == name => {
            let members = members.iter().map(|m| (m.name.clone().unwrap_or_default(), m.offset));
            Some((members.collect(), *span))
        }
        _ => None,
    })
}

macro_rules! rust_layout {
    ($ty:ident { $($field:ident),* $(,)? }) => {{
        // Fails to compile when a field is missing here.
        let $ty { $($field: _),* } = bytemuck::Zeroable::zeroed();
        let fields = vec![$((stringify!($field).to_string(), std::mem::offset_of!($ty, $field) as u32)),*];
        (stringify!($ty), fields, size_of::<$ty>() as u32)
    }};
}

#[test]
fn uniform_structs_are_laid_out_as_in_rust() {
    let twins = [
        rust_layout!(Params {
            batch,
            steps,
            words,
            inputs,
            neurons,
            quads,
            first_quad,
            input_stride,
            chunk,
            first_sample,
            chunk_samples,
            presynaptic_base,
            presynaptic_at,
            presynaptic_stride,
            event_capacity,
            active_capacity,
            counts,
            chunks,
            sum_readout,
            report_at,
            alpha,
            v_rest,
            v_th,
            reset,
            beta,
            b_th,
            gain,
            lambda_up,
            nu_up,
            lambda_low,
            nu_low,
            input_capacity,
            total,
            accumulate,
            shard,
            time,
            scanned,
            per_lane,
            sweep,
            shard_quads,
            map_height,
            map_width,
            kernel,
            stride,
            padding,
            rows,
            columns,
            filter_quads,
            pool,
            pool_columns,
            pooled_columns,
            windows,
            pool_quads,
            last_shard,
        }),
        rust_layout!(AdamParams { beta1, beta2, step_size, inv_sqrt_correction, epsilon, decay, pad0, pad1 }),
        rust_layout!(GemmParams { rows, cols, depth, a_quads, b_quads, out_quads, part_depth, pad }),
        rust_layout!(SumParams { quads, parts, accumulate, pad }),
    ];
    for (name, fields, size) in twins {
        let mut seen = 0;
        each(|shader, module, _| {
            if let Some(found) = layout(module, name) {
                assert_eq!(found, (fields.clone(), size), "{name} in {shader}");
                seen += 1;
            }
        });
        assert!(seen > 0, "no shader uses {name}");
    }
}
