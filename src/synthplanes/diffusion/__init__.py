"""The class-conditional diffusion model: denoiser, training, guidance and sampling."""
