"""Schedulers as published are followed; settings that would be drawn wrongly are refused by name."""

import diffusers
import pytest
import torch

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion.ddim import DDIMSchedule
from fergi_reward.diffusion.flow import FlowSchedule
from fergi_reward.toy import tiny
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.weights import attach

CPU = torch.device("cpu")
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
# The scheduler_config.json of the published models.
SD15 = {**NOISE, "skip_prk_steps": True, "set_alpha_to_one": False, "steps_offset": 1, "clip_sample": False}
SD15 |= {"trained_betas": None}
SD2 = {**SD15, "prediction_type": "v_prediction"}
XL = {**SD15, "interpolation_type": "linear", "sample_max_value": 1.0, "timestep_spacing": "leading"}
XL |= {"use_karras_sigmas": False, "prediction_type": "epsilon"}
SD3 = {"num_train_timesteps": 1000, "shift": 3.0}
SD35 = {**SD3, "base_image_seq_len": 256, "base_shift": 0.5, "max_image_seq_len": 4096, "max_shift": 1.15}
SD35 |= {"use_dynamic_shifting": False, "invert_sigmas": False, "shift_terminal": None, "use_karras_sigmas": False}
FLUX = {**SD35, "use_dynamic_shifting": True}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("PNDMScheduler", SD15),
        ("DDIMScheduler", SD15),
        ("DDIMScheduler", SD2),
        ("EulerDiscreteScheduler", XL),
        ("DPMSolverMultistepScheduler", SD15),
        ("DDIMScheduler", {**SD2, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}),
    ],
)
def test_published_schedulers_of_diffusion_are_read_as_diffusers_reads_them_for_ddim(name, settings):
    scheduler = getattr(diffusers, name).from_config(settings)
    spacing = {"timestep_spacing": scheduler.config["timestep_spacing"]}
    ddim = diffusers.DDIMScheduler.from_config(settings, **spacing)
    ddim.set_timesteps(20)
    schedule = DDIMSchedule.from_scheduler(scheduler, 20, CPU)
    assert torch.equal(schedule.timesteps, ddim.timesteps)
    assert torch.equal(schedule.alphas_cumprod, ddim.alphas_cumprod[ddim.timesteps])
    assert schedule.prediction_type == settings.get("prediction_type", "epsilon")


@pytest.mark.parametrize(
    "settings", [SD3, SD35, FLUX, {**FLUX, "use_beta_sigmas": True}, {**SD3, "shift_terminal": 0.1}]
)
def test_flows_are_followed_in_all_their_settings(settings):
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler.from_config(settings)
    schedule = FlowSchedule.from_scheduler(scheduler, 6, CPU, tokens=256)
    scheduler.set_timesteps(6, mu=0.5)
    assert torch.equal(schedule.sigmas, scheduler.sigmas)


def test_defaults_of_another_kind_of_scheduler_are_its_own_and_not_those_of_ddim():
    # The betas of HeunDiscreteScheduler begin at 0.00085 where nothing is said, those of DDIMScheduler at 0.0001.
    heun = diffusers.HeunDiscreteScheduler()
    assert torch.equal(DDIMSchedule.of_training(heun, CPU).alphas_cumprod.flip(0), heun.alphas_cumprod)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("EDMEulerScheduler", {}, "EDMEulerScheduler"),
        ("EDMDPMSolverMultistepScheduler", {}, "EDMDPMSolverMultistepScheduler"),
        ("LCMScheduler", SD15, "LCMScheduler"),
        ("FlowMatchEulerDiscreteScheduler", SD3, "FlowMatchEulerDiscreteScheduler"),
        ("DDIMScheduler", {**SD15, "clip_sample": True}, "clip_sample True"),
        ("DDIMScheduler", {**SD15, "thresholding": True}, "thresholding True"),
        ("DDIMScheduler", {**SD15, "prediction_type": "sample"}, "prediction_type 'sample'"),
        ("DDIMScheduler", {**SD15, "timestep_spacing": "odd"}, "timestep_spacing 'odd'"),
        ("DDIMScheduler", {**SD15, "rescale_betas_zero_snr": True}, "rescale_betas_zero_snr"),
        ("DDIMScheduler", {**SD15, "trained_betas": [0.1] * 999 + [1.0]}, "pure noise"),
        ("DDPMScheduler", {**SD15, "variance_type": "learned"}, "variance_type 'learned'"),
        ("EulerDiscreteScheduler", {**XL, "use_karras_sigmas": True}, "use_karras_sigmas True"),
        ("EulerDiscreteScheduler", {**XL, "timestep_type": "continuous"}, "timestep_type 'continuous'"),
        ("EulerDiscreteScheduler", {**XL, "sigma_max": 120.0}, "sigma_max 120.0"),
        ("DPMSolverMultistepScheduler", {**SD15, "use_flow_sigmas": True}, "use_flow_sigmas True"),
        ("DDIMScheduler", {**SD15, "of_tomorrow": 3}, "of_tomorrow 3"),
    ],
)
def test_schedulers_of_diffusion_that_would_be_drawn_wrongly_are_refused_by_name(name, settings, said):
    scheduler = getattr(diffusers, name).from_config(settings)
    for read in (
        lambda: DDIMSchedule.from_scheduler(scheduler, 5, CPU),
        lambda: DDIMSchedule.of_training(scheduler, CPU),
    ):
        with pytest.raises(FergiRewardError, match=said):
            read()


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("FlowMatchHeunDiscreteScheduler", {}, "FlowMatchHeunDiscreteScheduler"),
        ("FlowMatchEulerDiscreteScheduler", {"invert_sigmas": True}, "invert_sigmas True"),
        ("FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True}, "stochastic_sampling True"),
        ("FlowMatchEulerDiscreteScheduler", {"of_tomorrow": "yes"}, "of_tomorrow 'yes'"),
    ],
)
def test_flows_that_would_be_drawn_wrongly_are_refused_by_name(name, settings, said):
    with pytest.raises(FergiRewardError, match=said):
        FlowSchedule.from_scheduler(getattr(diffusers, name).from_config(settings), 5, CPU, tokens=64)


@pytest.mark.parametrize(
    ("part", "settings", "said"),
    [
        (
            "vae",
            {"latents_mean": [0.1] * 4, "latents_std": [2.0] * 4},
            "VAE has latents_mean and its VAE has latents_std",
        ),
        ("vae", {"shift_factor": 0.1}, "VAE has shift_factor"),
        ("unet", {"time_cond_proj_dim": 256}, "UNet has time_cond_proj_dim"),
    ],
)
def test_networks_with_settings_that_are_not_followed_are_refused_by_name(pipeline, part, settings, said):
    getattr(pipeline, part).register_to_config(**settings)
    with pytest.raises(FergiRewardError, match=said):
        attach(pipeline, TrainerConfig(), CPU, torch.float32)


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        (tiny.qwen_image, {"guidance_embeds": True}, "transformer has guidance_embeds: such a pipeline cannot be"),
        (
            tiny.qwen_image,
            {"zero_cond_t": True, "use_layer3d_rope": True},
            "has zero_cond_t and its transformer has use_",
        ),
        (tiny.z_image, {"siglip_feat_dim": 8}, "transformer has siglip_feat_dim"),
        (tiny.z_image, {"all_patch_size": (4,)}, "transformer has all_patch_size without 2"),
    ],
)
def test_other_forms_of_an_architecture_are_refused_by_name(kind, settings, said):
    pipeline = kind()
    pipeline.transformer.register_to_config(**settings)
    with pytest.raises(FergiRewardError, match=said):
        attach(pipeline, TrainerConfig(), CPU, torch.float32)


def test_another_kind_of_vae_is_refused_by_name():
    pipeline = tiny.stable_diffusion()
    pipeline.vae = diffusers.AutoencoderTiny()
    with pytest.raises(FergiRewardError, match="AutoencoderTiny"):
        attach(pipeline, TrainerConfig(), CPU, torch.float32)
