"""The diffusion model: diffusers' UNet2DConditionModel on latents with a CLIP text encoder, small, and its sampler."""
import diffusers
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

import vae
from captions import TEXT_LENGTH
from masked_model import text_layers

HEAD_WIDTH = 32
# The linear schedule ends in almost pure noise: the floor, which is most of a picture, does not shine through at the last step
# (.7 % of the latent; 6.8 % with the schedule of Stable Diffusion, which a mean over 1,024 places still shows). Whatever
# class reads these fields samples as intended.
SCHEDULE = dict(
    num_train_timesteps=1000, beta_start=0.0001, beta_end=0.02, beta_schedule="linear", prediction_type="v_prediction",
    timestep_spacing="trailing", steps_offset=1, clip_sample=False, set_alpha_to_one=True)
SOLVER = dict(algorithm_type="dpmsolver++", solver_order=2, solver_type="midpoint", lower_order_final=True, final_sigmas_type="zero")
FIRST_SETTINGS = dict(scheduler="DPMSolverMultistepScheduler", num_inference_steps=20, guidance_scale=2.0)


def build(tiny=False):
    """(UNet, text encoder): 3.0M and 0.7M parameters. Text is read at 16 x 16 and 8 x 8."""
    width = (32, 32, 32) if tiny else (64, 96, 64)
    unet = UNet2DConditionModel(
        sample_size=vae.SIDE, in_channels=vae.LATENT, out_channels=vae.LATENT, block_out_channels=width, layers_per_block=1,
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], cross_attention_dim=128, norm_num_groups=16,
        attention_head_dim=[channels // HEAD_WIDTH for channels in width])               # diffusers means the number of heads
    text_encoder = CLIPTextModel(CLIPTextConfig(
        vocab_size=673, hidden_size=128, intermediate_size=512, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=TEXT_LENGTH, projection_dim=128, hidden_act="gelu", bos_token_id=671, eos_token_id=672, pad_token_id=672))
    return unet, text_encoder


def signal_and_noise(device):
    """Factors of the latent and of the noise at each of the 1,000 steps."""
    share = DDIMScheduler(**SCHEDULE).alphas_cumprod.to(device)
    return share.sqrt(), (1 - share).sqrt()


def encode_text(text_encoder, ids):
    """What the UNet reads: all places of the caption after the last norm, as in the stock pipeline."""
    model = getattr(text_encoder, "text_model", text_encoder)
    return model.final_layer_norm(text_layers(model, ids)[1])


def fields_of(scheduler):
    return {**SCHEDULE, **SOLVER} if scheduler == "DPMSolverMultistepScheduler" else SCHEDULE


@torch.no_grad()
def generate(unet, text_encoder, ids, empty_ids, scheduler, num_inference_steps, guidance_scale, seed=0, noise=None):
    """Prompt ids (n, 40) -> latents (n, 4, 32, 32), as StableDiffusionPipeline does it."""
    device, count = ids.device, len(ids)
    if noise is None:
        noise = torch.randn(count, vae.LATENT, vae.SIDE, vae.SIDE, device=device, generator=torch.Generator(device).manual_seed(seed))
    text = encode_text(text_encoder, torch.cat([empty_ids.expand(count, -1), ids]))
    solver = getattr(diffusers, scheduler).from_config(fields_of(scheduler))
    solver.set_timesteps(num_inference_steps, device=device)
    latents = noise * solver.init_noise_sigma
    for step in solver.timesteps:
        inputs = solver.scale_model_input(torch.cat([latents, latents]), step)
        unconditional, conditional = unet(inputs, step, text).sample.chunk(2)
        latents = solver.step(unconditional + guidance_scale * (conditional - unconditional), step, latents).prev_sample
    return latents
