//! What lies between two layers of neurons: weights, convolutions and pooling, joined to the one matrix of a layer.

use super::graph::Step;
use super::parameters::Parameters;
use crate::error::Result;
use crate::network::Convolution;
use std::path::Path;

/// A linear map from the spikes of the layer below to the currents of a layer.
#[derive(Debug, Clone)]
pub(super) struct Linear {
    /// Extents of the values that leave it: [n], or [channels, rows, columns].
    pub shape: Vec<usize>,
    pub map: Map,
}

#[derive(Debug, Clone)]
pub(super) enum Map {
    /// The values themselves.
    Identity,
    Pool(Pool),
    Dense(Dense),
    Conv(Conv),
}

/// Sums of windows, times `scale`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pool {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub kernel: usize,
    pub stride: usize,
    pub scale: f64,
}

/// A matrix.
#[derive(Debug, Clone)]
pub(super) struct Dense {
    /// Values that leave it.
    pub outputs: usize,
    /// Values that enter it.
    pub inputs: usize,
    /// Row-major [outputs, inputs].
    pub w: Vec<f64>,
    /// [outputs].
    pub bias: Option<Vec<f64>>,
}

/// A convolution.
#[derive(Debug, Clone)]
pub(super) struct Conv {
    pub shape: Convolution,
    /// Row-major [filters, channels, kernel, kernel].
    pub w: Vec<f64>,
    /// [filters].
    pub bias: Option<Vec<f64>>,
}

impl Pool {
    fn windows(extent: usize, kernel: usize, stride: usize) -> usize {
        extent.checked_sub(kernel).map_or(0, |room| room / stride + 1)
    }

    pub fn rows(&self) -> usize {
        Self::windows(self.height, self.kernel, self.stride)
    }

    pub fn columns(&self) -> usize {
        Self::windows(self.width, self.kernel, self.stride)
    }

    fn outputs(&self) -> usize {
        self.channels * self.rows() * self.columns()
    }

    fn inputs(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// The indices of the values in the window of output `p`.
    fn window(&self, p: usize) -> impl Iterator<Item = usize> + use<> {
        let pool = *self;
        let (rows, columns) = (self.rows(), self.columns());
        let (map, y, x) = (p / (rows * columns), p / columns % rows * self.stride, p % columns * self.stride);
        (0..self.kernel * self.kernel)
            .map(move |k| (map * pool.height + y + k / pool.kernel) * pool.width + x + k % pool.kernel)
    }
}

/// What may still be computed from a file, so that a small one cannot ask for any amount of memory or time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// Numbers of matrices.
    numbers: usize,
    /// Products of numbers.
    work: usize,
}

impl Budget {
    /// That of a file from which so many numbers may be made.
    pub fn new(numbers: usize) -> Self {
        Budget { numbers, work: numbers.saturating_mul(1 << 8) }
    }

    /// Takes a matrix; its number of elements, or `None` if it is too large.
    fn matrix(&mut self, rows: usize, columns: usize) -> Option<usize> {
        let size = rows.checked_mul(columns)?;
        self.numbers = self.numbers.checked_sub(size)?;
        Some(size)
    }
}

impl Linear {
    /// The identity of values with these extents.
    pub fn identity(shape: Vec<usize>) -> Self {
        Linear { shape, map: Map::Identity }
    }

    /// Number of values that leave it.
    pub fn outputs(&self) -> usize {
        self.shape.iter().product()
    }

    /// Appends a node.
    ///
    /// # Errors
    /// Naming the node and what cannot be imported.
    pub fn append(&mut self, step: &Step, path: &Path, budget: &mut Budget) -> Result<()> {
        let node = Parameters { step, path };
        match step.kind.as_str() {
            "Linear" => {
                node.only(&["weight"])?;
                self.dense(node, None, budget)
            }
            "Affine" => {
                node.only(&["weight", "bias"])?;
                let (_, bias) = node.array("bias")?;
                self.dense(node, Some(bias), budget)
            }
            "Scale" => self.scale(node),
            "Flatten" => self.flatten(node),
            "Conv2d" => self.convolve(node, budget),
            _ => self.pool(node),
        }
    }

    fn dense(&mut self, node: Parameters, bias: Option<Vec<f64>>, budget: &mut Budget) -> Result<()> {
        let (shape, w) = node.array("weight")?;
        let &[outputs, inputs] = shape else {
            return Err(node.error(format!("its `weight` has the shape {shape:?}, [outputs, inputs] expected")));
        };
        if inputs != self.outputs() || outputs == 0 {
            return Err(node.error(format!(
                "its `weight` has the shape {shape:?}, i.e. {inputs} inputs, but {} values of shape {:?} arrive; make the sizes \
                 fit",
                self.outputs(),
                self.shape
            )));
        }
        if self.shape.len() > 1 {
            return Err(node.error(format!("values of shape {:?} arrive; put a Flatten in front of it", self.shape)));
        }
        if let Some(bias) = &bias
            && bias.len() != outputs
        {
            return Err(node.error(format!("its `bias` has {} values, its `weight` {outputs} outputs", bias.len())));
        }
        // All zeros are no biases: Norse writes every Linear as Affine.
        let bias = bias.filter(|bias| bias.iter().any(|&b| b != 0.0));
        let next = Dense { outputs, inputs, w, bias };
        self.map = Map::Dense(match std::mem::replace(&mut self.map, Map::Identity) {
            Map::Identity => next,
            Map::Pool(pool) => through_pool(&next, &pool, budget).ok_or_else(|| too_large(node))?,
            Map::Dense(first) => product(&next, &first, budget).ok_or_else(|| too_large(node))?,
            Map::Conv(_) => return Err(after_convolution(node)),
        });
        self.shape = vec![outputs];
        Ok(())
    }

    fn scale(&mut self, node: Parameters) -> Result<()> {
        node.only(&["scale"])?;
        let scale = node.per_neuron("scale", self.outputs())?;
        let Map::Dense(dense) = &mut self.map else {
            return Err(node.error("is supported only after Linear or Affine; multiply it into the weights"));
        };
        for (row, factor) in dense.w.chunks_exact_mut(dense.inputs).zip(&scale) {
            row.iter_mut().for_each(|w| *w *= factor);
        }
        for (b, factor) in dense.bias.iter_mut().flatten().zip(&scale) {
            *b *= factor;
        }
        Ok(())
    }

    fn flatten(&mut self, node: Parameters) -> Result<()> {
        node.only(&["start_dim", "end_dim", "input_type"])?;
        if node.has("input_type") {
            let (_, given) = node.array("input_type")?;
            self.check_shape(node, "input_type", &given, &self.shape)?;
        }
        let n = self.shape.len() as i64;
        let dimension = |name: &str| {
            let given = node.integer(name)?;
            match given {
                _ if (-n..n).contains(&given) => Ok(given.rem_euclid(n) as usize),
                _ => Err(node.error(format!("its `{name}` is {given}, but values of shape {:?} arrive", self.shape))),
            }
        };
        let (start, end) = (dimension("start_dim")?, dimension("end_dim")?);
        if start > end {
            return Err(node.error(format!("flattens dimensions {start} to {end}")));
        }
        let flat = self.shape[start..=end].iter().product();
        self.shape.splice(start..=end, [flat]);
        Ok(())
    }

    /// Checks the shape that a node notes of what arrives; a batch of 1 may stand in front.
    fn check_shape(&self, node: Parameters, name: &str, given: &[f64], arriving: &[usize]) -> Result<()> {
        let noted = given.strip_prefix(&[1.0]).filter(|rest| rest.len() == arriving.len()).unwrap_or(given);
        match noted.len() == arriving.len() && noted.iter().zip(arriving).all(|(a, &b)| *a == b as f64) {
            true => Ok(()),
            false => Err(node.error(format!("its `{name}` is {given:?}, but values of shape {:?} arrive", self.shape))),
        }
    }

    /// Extents of maps.
    fn maps(&self, node: Parameters) -> Result<[usize; 3]> {
        <[usize; 3]>::try_from(self.shape.as_slice()).map_err(|_| {
            node.error(format!("values of shape {:?} arrive, [channels, rows, columns] expected", self.shape))
        })
    }

    fn convolve(&mut self, node: Parameters, budget: &mut Budget) -> Result<()> {
        node.only(&["weight", "bias", "stride", "padding", "dilation", "groups", "input_shape"])?;
        let [channels, height, width] = self.maps(node)?;
        if node.has("input_shape") {
            let (_, given) = node.array("input_shape")?;
            self.check_shape(node, "input_shape", &given, &[height, width])?;
        }
        let (shape, w) = node.array("weight")?;
        let &[filters, of_weight, kernel, kernel_columns] = shape else {
            return Err(node
                .error(format!("its `weight` has the shape {shape:?}, [filters, channels, rows, columns] expected")));
        };
        if node.integer("groups")? != 1 {
            return Err(node.error(format!("has {} groups, only 1 is supported", node.integer("groups")?)));
        }
        if node.square("dilation")? != 1 {
            return Err(node.error(format!("its `dilation` is {}, only 1 is supported", node.square("dilation")?)));
        }
        if kernel != kernel_columns {
            return Err(
                node.error(format!("its kernel is {kernel} × {kernel_columns}, only square kernels are supported"))
            );
        }
        if of_weight != channels {
            return Err(node
                .error(format!("its `weight` has {of_weight} channels, but values of shape {:?} arrive", self.shape)));
        }
        let (_, bias) = node.array("bias")?;
        if bias.len() != filters {
            return Err(node.error(format!("its `bias` has {} values, its `weight` {filters} filters", bias.len())));
        }
        // Convolutions without biases are written with zeros.
        let bias = bias.iter().any(|&b| b != 0.0).then_some(bias);
        let stride = node.square("stride")?;
        let padding = match node.text("padding") {
            Some("valid") => 0,
            Some("same") if stride == 1 && kernel % 2 == 1 => kernel / 2,
            Some(other) => return Err(node.error(format!("its `padding` is \"{other}\" with a kernel of {kernel} and a stride of {stride}, which is not supported; give a number"))),
            None => node.square("padding")?,
        };
        let shape = Convolution { channels, height, width, filters, kernel, stride, padding, pool: 1 };
        check_convolution(node, &shape)?;
        let conv = Conv { shape, w, bias };
        let conv = match &self.map {
            Map::Identity => conv,
            Map::Pool(pool) => conv_through_pool(node, &conv, pool, budget)?,
            Map::Dense(_) => {
                return Err(node.error("follows weights without neurons in between, which is not supported"));
            }
            Map::Conv(_) => return Err(after_convolution(node)),
        };
        self.shape = vec![filters, conv.shape.rows(), conv.shape.columns()];
        self.map = Map::Conv(conv);
        Ok(())
    }

    fn pool(&mut self, node: Parameters) -> Result<()> {
        node.only(&["kernel_size", "stride", "padding"])?;
        let [channels, height, width] = self.maps(node)?;
        let (kernel, stride) = (node.square("kernel_size")?, node.square("stride")?);
        if node.square("padding")? != 0 {
            return Err(node.error(format!("its `padding` is {}, only 0 is supported", node.square("padding")?)));
        }
        let scale = if node.step.kind == "AvgPool2d" { 1.0 / (kernel * kernel) as f64 } else { 1.0 };
        let pool = Pool { channels, height, width, kernel, stride: stride.max(1), scale };
        if stride == 0 || kernel == 0 || kernel > height.min(width) {
            return Err(
                node.error(format!("a window of {kernel} with a stride of {stride} does not fit {height} × {width}"))
            );
        }
        match self.map {
            Map::Identity => self.map = Map::Pool(pool),
            _ => return Err(node.error("is supported only directly behind neurons or the input")),
        }
        self.shape = vec![channels, pool.rows(), pool.columns()];
        Ok(())
    }

    /// The map as a matrix, or as a convolution.
    pub fn into_weights(self, node: Parameters, budget: &mut Budget) -> Result<Map> {
        let n = self.outputs();
        match self.map {
            Map::Identity => identity(n, budget).map(Map::Dense).ok_or_else(|| too_large(node)),
            Map::Pool(pool) => {
                let dense = identity(n, budget).and_then(|one| through_pool(&one, &pool, budget));
                dense.map(Map::Dense).ok_or_else(|| too_large(node))
            }
            weights => Ok(weights),
        }
    }
}

fn too_large(node: Parameters) -> crate::Error {
    node.error(
        "the matrix of weights in front of it would be out of proportion to the file; write the weights themselves",
    )
}

fn after_convolution(node: Parameters) -> crate::Error {
    node.error("follows a convolution without neurons in between, which is not supported")
}

fn check_convolution(node: Parameters, shape: &Convolution) -> Result<()> {
    let Convolution { kernel, stride, padding, .. } = *shape;
    if stride == 0 || shape.pixels() == 0 || padding >= kernel {
        return Err(node.error(format!(
            "a kernel of {kernel} with a stride of {stride} and a padding of {padding} does not fit maps of {} × {}; the padding \
             must be smaller than the kernel",
            shape.height, shape.width
        )));
    }
    Ok(())
}

fn identity(n: usize, budget: &mut Budget) -> Option<Dense> {
    let mut w = vec![0.0; budget.matrix(n, n)?];
    (0..n).for_each(|j| w[j * n + j] = 1.0);
    Some(Dense { outputs: n, inputs: n, w, bias: None })
}

/// `second` after `first`.
fn product(second: &Dense, first: &Dense, budget: &mut Budget) -> Option<Dense> {
    let (outputs, inputs) = (second.outputs, first.inputs);
    let size = budget.matrix(outputs, inputs)?;
    budget.work = budget.work.checked_sub(size.checked_mul(first.outputs)?)?;
    let mut w = vec![0.0; size];
    let mut bias = second.bias.clone().unwrap_or_else(|| vec![0.0; outputs]);
    for (j, row) in w.chunks_exact_mut(inputs).enumerate() {
        for (k, &x) in second.w[j * second.inputs..][..second.inputs].iter().enumerate() {
            row.iter_mut().zip(&first.w[k * inputs..]).for_each(|(sum, &y)| *sum += x * y);
            bias[j] += x * first.bias.as_ref().map_or(0.0, |bias| bias[k]);
        }
    }
    let bias = (second.bias.is_some() || first.bias.is_some()).then_some(bias);
    Some(Dense { outputs, inputs, w, bias })
}

/// `dense` after `pool`: every value of a window gets the window's weight.
fn through_pool(dense: &Dense, pool: &Pool, budget: &mut Budget) -> Option<Dense> {
    let (outputs, inputs) = (dense.outputs, pool.inputs());
    let size = budget.matrix(outputs, inputs)?;
    let windows = outputs.checked_mul(pool.outputs())?.checked_mul(pool.kernel * pool.kernel)?;
    budget.work = budget.work.checked_sub(windows)?;
    let mut w = vec![0.0; size];
    for (row, pooled) in w.chunks_exact_mut(inputs).zip(dense.w.chunks_exact(dense.inputs)) {
        for p in 0..pool.outputs() {
            pool.window(p).for_each(|i| row[i] += pool.scale * pooled[p]);
        }
    }
    Some(Dense { outputs, inputs, w, bias: dense.bias.clone() })
}

/// `conv` after `pool`: a convolution with a larger kernel and stride, if the borders agree.
fn conv_through_pool(node: Parameters, conv: &Conv, pool: &Pool, budget: &mut Budget) -> Result<Conv> {
    let Convolution { filters, kernel, stride, padding, .. } = conv.shape;
    let wide = Convolution {
        height: pool.height,
        width: pool.width,
        kernel: (kernel - 1) * pool.stride + pool.kernel,
        stride: stride * pool.stride,
        padding: padding * pool.stride,
        ..conv.shape
    };
    // The zeros around the pooled maps must be zeros around the maps.
    let covered = pool.kernel <= pool.stride
        && pool.rows() * pool.stride >= pool.height
        && pool.columns() * pool.stride >= pool.width;
    if (padding > 0 && !covered) || (wide.rows(), wide.columns()) != (conv.shape.rows(), conv.shape.columns()) {
        return Err(
            node.error("cannot be joined with the pooling in front of it, since they treat the borders differently")
        );
    }
    check_convolution(node, &wide)?;
    let size = budget.matrix(wide.patch(), filters).ok_or_else(|| too_large(node))?;
    let mut w = vec![0.0; size];
    for (map, taps) in conv.w.chunks_exact(kernel * kernel).enumerate() {
        for (k, tap) in taps.iter().enumerate() {
            for window in 0..pool.kernel * pool.kernel {
                let y = k / kernel * pool.stride + window / pool.kernel;
                let x = k % kernel * pool.stride + window % pool.kernel;
                w[(map * wide.kernel + y) * wide.kernel + x] += pool.scale * tap;
            }
        }
    }
    Ok(Conv { shape: wide, w, bias: conv.bias.clone() })
}
