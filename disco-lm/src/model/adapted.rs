//! Models with an adapter: how an adapter is made, loaded, saved and merged, and which parameters are trained.

use std::{path::Path, sync::Arc};

use burn::tensor::Tensor;
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

use crate::{
    Error, LanguageModel, Lora, Precision, Result, TokenModel,
    architecture::{
        config_reader::ConfigReader,
        modules::{Module, modules},
        parameters::Parameter,
    },
    device::transfer::{download, upload},
    layers::{low_rank::LowRankLayout, weight::Weight},
    lora::{
        adapter::Adapter,
        peft::{AdapterFile, CONFIG, Targets, WEIGHTS, is_elsewhere, names, read_config},
    },
    weights::{
        self, Loaded, Shard,
        folder::{must_be_folder, without_weights},
        replace_folder,
    },
};

impl TokenModel {
    /// The same model with a new adapter, which changes nothing before its first training step. The frozen weights are shared.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the setting: a rank of 0, or above the longest side of the named matrices; an alpha that is not
    /// positive and finite; a module that the model does not have (the message lists its modules); a model that has an adapter
    /// already.
    pub fn with_lora(&self, lora: &Lora) -> Result<Self> {
        if self.adapter.is_some() {
            return Err(Error::invalid("lora", "of a model with an adapter", "merge the adapter first"));
        }
        let modules = lora.select(&self.shared.parameters)?;
        let widest = modules.iter().map(|module| module.inputs.max(module.outputs)).max().unwrap_or(0);
        if lora.rank > widest {
            let allowed = format!("1 to {widest}, the longest side of these matrices");
            return Err(Error::invalid("lora.rank", lora.rank, allowed));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(lora.seed);
        let device = &self.shared.device;
        let mut tensors: Vec<Tensor<2>> = Vec::with_capacity(2 * modules.len());
        for module in &modules {
            let bound = (module.inputs as f32).sqrt().recip();
            let uniform = |_| bound * (2.0 * rng.random::<f32>() - 1.0);
            let down = (0..lora.rank * module.inputs).map(uniform).collect();
            tensors.push(upload(down, [lora.rank, module.inputs], device));
            tensors.push(Tensor::zeros([module.outputs, lora.rank], device));
        }
        let adapter = Adapter::new(lora.clone(), modules, tensors);
        Ok(Self { adapter: Some(adapter), ..self.clone() })
    }
}

impl TokenModel {
    /// The adapter's settings, if the model has one.
    pub fn lora(&self) -> Option<&Lora> {
        self.adapter.as_ref().map(|adapter| &adapter.lora)
    }

    /// The same distribution without an adapter: each weight `W` that has one becomes `W + alpha / rank * B A`. These weights
    /// are new; the others are shared. Without an adapter it is a clone.
    pub fn merged(&self) -> Self {
        let Some(adapter) = &self.adapter else { return self.clone() };
        let mut weights = self.weights.clone();
        for (parameter, low_rank) in adapter.layout.updates(&self.shared.parameters, &adapter.tensors) {
            weights[parameter] = weights[parameter].merged(low_rank);
        }
        Self { weights, adapter: None, ..self.clone() }
    }

    /// The layout of the adapter's tensors, if the model has an adapter.
    pub(crate) fn adapter_layout(&self) -> Option<&LowRankLayout> {
        self.adapter.as_ref().map(|adapter| &*adapter.layout)
    }

    /// The parameters that are trained: the adapter's if there is one, else all of the model's.
    pub(crate) fn trained_parameters(&self) -> &[Parameter] {
        match &self.adapter {
            Some(adapter) => &adapter.parameters,
            None => &self.shared.parameters,
        }
    }

    /// The elements of the parameters that are trained, in their order.
    pub(crate) fn trained_elements(&self) -> Vec<Tensor<2>> {
        match &self.adapter {
            Some(adapter) => adapter.tensors.clone(),
            None => self.weights.iter().map(Weight::to_f32).collect(),
        }
    }

    /// The parameters that are trained, with mutable access to their elements.
    pub(crate) fn trained_mut(&mut self) -> (Arc<Vec<Parameter>>, Vec<&mut Tensor<2>>) {
        match &mut self.adapter {
            Some(adapter) => (adapter.parameters.clone(), adapter.tensors.iter_mut().collect()),
            None => {
                let elements = self.weights.iter_mut().map(Weight::trained_mut);
                (self.shared.parameters.clone(), elements.collect())
            }
        }
    }
}

impl TokenModel {
    /// Writes the adapter as a folder that PEFT loads onto the same base model. An existing adapter in this folder is replaced
    /// only after all files are written.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the model has no adapter; [`Error::Io`] or [`Error::Format`], naming the file.
    pub fn save_adapter(&self, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        let Some(adapter) = &self.adapter else {
            return Err(Error::invalid("adapter", "none", "a model with an adapter"));
        };
        let mut tensors = Vec::new();
        for (parameter, tensor) in adapter.parameters.iter().zip(&adapter.tensors) {
            tensors.push((parameter.name.clone(), parameter.shape.to_vec(), download(tensor.clone())?));
        }
        let config = adapter.config(&modules(&self.shared.parameters)).to_string();
        replace_folder(folder, |new| {
            let path = new.join(CONFIG);
            std::fs::write(&path, config).map_err(|source| Error::io(&path, source))?;
            let path = new.join(WEIGHTS);
            weights::check_finite(&path, &tensors)?;
            weights::write(&path, tensors, Precision::F32)
        })
    }

    /// The same model with an adapter that PEFT or [`save_adapter`](Self::save_adapter) wrote. The adapter may cover only some of
    /// the layers. The frozen weights are shared.
    ///
    /// # Errors
    /// [`Error::Config`] for a kind of adapter that is not supported (DoRA, biases, ranks that differ, a beginning that changes the
    /// model's weights as PiSSA's does); [`Error::NotRead`] for an adapter in another format, such as `adapter_model.bin`;
    /// [`Error::Weights`] listing all tensors that do not fit the model; [`Error::Io`] or [`Error::Format`], naming
    /// the file; [`Error::Invalid`] if the model already has an adapter.
    pub fn with_adapter(&self, folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        if self.adapter.is_some() {
            return Err(Error::invalid("adapter", "a second one", "a model without an adapter"));
        }
        must_be_folder(folder, "the folder of an adapter")?;
        let path = folder.join(CONFIG);
        let config = weights::read_json(&path)?;
        let reader = ConfigReader { config: &config, path: &path };
        let (rank, alpha) = read_config(&reader)?;
        let targets = Targets::read(&reader)?;
        if !folder.join(WEIGHTS).exists() {
            return Err(without_weights(folder, WEIGHTS));
        }
        let file = AdapterFile(Shard::open(folder.join(WEIGHTS))?);
        let all = modules(&self.shared.parameters);
        let holds =
            |module: &&Module| module.factors(rank).iter().any(|factor| file.0.contains(&factor.name));
        let selected: Vec<Module> = all.iter().filter(holds).cloned().collect();
        let parameters: Vec<Parameter> = selected.iter().flat_map(|module| module.factors(rank)).collect();
        if let Some(name) = file.0.names().find(|name| is_elsewhere(name)) {
            let found = format!("an adapter of embeddings or of the output matrix: it holds `{name}`");
            let allowed = "matrices of layers only".into();
            return Err(Error::NotRead { path: folder.join(WEIGHTS), found, allowed });
        }
        let Loaded { values, .. } = weights::load(&file, &parameters, false, folder)?;
        if parameters.is_empty() {
            return Err(Error::format(folder.join(WEIGHTS), "it holds no adapter"));
        }
        targets.check(&reader, &selected)?;
        let lora = Lora { rank, alpha, target_modules: names(&selected, &all), seed: 0 };
        let tensors = parameters.iter().zip(values);
        let tensors =
            tensors.map(|(parameter, values)| upload(values, parameter.shape, &self.shared.device)).collect();
        Ok(Self { adapter: Some(Adapter::new(lora, selected, tensors)), ..self.clone() })
    }
}

impl LanguageModel {
    /// The same model with a new adapter, which changes nothing before its first training step: see [`TokenModel::with_lora`].
    ///
    /// # Errors
    /// As [`TokenModel::with_lora`].
    pub fn with_lora(&self, lora: &Lora) -> Result<Self> {
        Ok(self.with_tokens(self.tokens().with_lora(lora)?))
    }

    /// The same model with an adapter from a PEFT folder: see [`TokenModel::with_adapter`].
    ///
    /// # Errors
    /// As [`TokenModel::with_adapter`].
    pub fn with_adapter(&self, folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        Ok(self.with_tokens(self.tokens().with_adapter(folder)?))
    }

    /// The same distribution, with its adapter added to the weights: see [`TokenModel::merged`].
    pub fn merged(&self) -> Self {
        self.with_tokens(self.tokens().merged())
    }

    /// Writes the adapter as a PEFT folder: see [`TokenModel::save_adapter`].
    ///
    /// # Errors
    /// As [`TokenModel::save_adapter`].
    pub fn save_adapter(&self, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        self.tokens().save_adapter(folder)
    }
}
