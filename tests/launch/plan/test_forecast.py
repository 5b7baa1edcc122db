import pytest

from launch.plan.config import PlanConfig
from launch.plan.forecast import Forecast, Speeds, slowest
from launch.plan.network_size import Network
from tests.launch.plan.forecasts import forecast
from trainer.recipe.config import Recipe

RESNET50, RESNET101, INCEPTION_V3, VGG16 = 25_557_032, 44_549_160, 23_834_568, 138_357_544  # parameters


def published(gpus: int, parameters: int, rate: float, batch: int, links: tuple[int, float, float]) -> Forecast:
    """Images of no size and a loader without limits: GPUs of so many images/s alone, and the links of their node."""
    node, link_gb_s, network_gb_s = links
    return Forecast(
        config=PlanConfig(gpus_per_node=node, network_gb_s=network_gb_s),
        recipe=Recipe(global_batch=batch * gpus, micro_batch=batch),
        network=Network(parameters=parameters, statistics=0, state_bytes=0, multiply_adds=0, saved=0),
        speeds=Speeds(
            images_per_s=rate, core_images_per_s=1e12, link_gb_s=link_gb_s, stall_bytes_per_s=1, write_bytes_per_s=1
        ),
    )


# NVIDIA DeepLearningExamples, PyTorch/Classification/ConvNets/resnet50v1.5/README.md, container 21.03: images/s of one
# GPU and of eight, images of a pass from its configs.yml; its MXNet counterpart likewise
DGX_A100, DGX_1 = (8, 300, 25), (8, 150, 12.5)
# Oneflow-Inc/DLPerf, NVIDIADeepLearningExamples/PyTorch/resnet50v1.5: the same code on 1, 2 and 4 nodes of eight V100s,
# InfiniBand of 100 Gbit/s
# tensorflow.org/performance/benchmarks, May 2017: P100s in a DGX-1, one and eight, synthetic data, 64 images each
DGX_1_P100 = (8, 80, 12.5)
# Goyal et al. 2017 (1706.02677), abstract and section 4: about 90 % from 8 GPUs to 256, P100s by eight, Ethernet of
# 50 Gbit/s, 32 images each; a P100 trains 195 images/s of ResNet-50 in batches of 32 (tensorflow.org)
BIG_BASIN = (8, 80, 6.25)
# horovod/docs/benchmarks.rst: 90 % of ResNet-101 and Inception-v3 and 68 % of VGG-16 from one GPU to 512, Pascals by
# four, RoCE of 25 Gbit/s, 64 images each; rates of a P100 from tensorflow.org, that of ResNet-101 as ResNet-50's 219
# divided by 1.91, the ratio of their FLOPs
PASCALS = (4, 12, 3.125)

SCALING = {
    "DLE A100 TF32": (published(8, RESNET50, 938, 256, DGX_A100), 1, 7248 / 938 / 8),
    "DLE V100 FP32": (published(8, RESNET50, 367, 112, DGX_1), 1, 2855 / 367 / 8),
    "DLE MXNet A100": (published(8, RESNET50, 3411, 256, DGX_A100), 1, 26674 / 3411 / 8),
    "DLPerf AMP, 8": (published(8, RESNET50, 802.9, 256, DGX_1), 1, 7.67 / 8),
    "DLPerf AMP, 16": (published(16, RESNET50, 802.9, 256, DGX_1), 1, 14.94 / 16),
    "DLPerf AMP, 32": (published(32, RESNET50, 802.9, 256, DGX_1), 1, 28.09 / 32),
    "DLPerf FP32, 8": (published(8, RESNET50, 367.29, 128, DGX_1), 1, 7.86 / 8),
    "DLPerf FP32, 16": (published(16, RESNET50, 367.29, 128, DGX_1), 1, 15.56 / 16),
    "DLPerf FP32, 32": (published(32, RESNET50, 367.29, 128, DGX_1), 1, 29.72 / 32),
    "TensorFlow P100": (published(8, RESNET50, 219, 64, DGX_1_P100), 1, 1734 / 219 / 8),
    "Goyal": (published(256, RESNET50, 195, 32, BIG_BASIN), 8, 0.90),
    "Horovod ResNet-101": (published(512, RESNET101, 219 / 1.91, 64, PASCALS), 1, 0.90),
    "Horovod Inception-v3": (published(512, INCEPTION_V3, 142, 64, PASCALS), 1, 0.90),
    "Horovod VGG-16": (published(512, VGG16, 154, 64, PASCALS), 1, 0.68),
}
# Programs that lose more on the eight GPUs of one node than the same machines do in other hands (above): AMP in
# DeepLearningExamples' PyTorch, where the GPU is fastest, and TensorFlow's VGG-16, replicated without overlap
SLOWER = {
    "DLE A100 AMP": (published(8, RESNET50, 2470, 256, DGX_A100), 1, 16621 / 2470 / 8),
    "DLE V100 AMP": (published(8, RESNET50, 1200, 256, DGX_1), 1, 8322 / 1200 / 8),
    "TensorFlow VGG-16": (published(8, VGG16, 154, 64, DGX_1_P100), 1, 1081 / 154 / 8),
}
# MLPerf Training, ResNet-50 in MXNet, images/s in the logs of one node and of two, which pass half as many images at a
# time: 3.0 (May 2023), Dell XE9680 with A100 or H100, InfiniBand of 8 x 400 Gbit/s; 4.0 (April 2024), Dell R760xa with
# four L40S, and two such nodes of NVIDIA's, PCIe and 2 x 400 Gbit/s. Nothing in the model was chosen by them
NOT_FITTED = {
    "A100": (published(16, RESNET50, 28_640 / 8, 204, (8, 300, 400)), 8, 53_760 / 28_640 / 2, 0.05),
    "H100": (published(16, RESNET50, 56_089 / 8, 200, (8, 450, 400)), 8, 96_600 / 56_089 / 2, 0.15),
    "L40S": (published(8, RESNET50, 8_737 / 4, 204, (4, 32, 100)), 4, 14_806 / 8_737 / 2, 0.16),
}


def too_high(model: Forecast, base: int, efficiency: float) -> float:
    """By what share of the published efficiency the predicted one, from `base` GPUs to the recipe's, is too high."""
    gpus = model.recipe.global_batch // model.recipe.micro_batch
    return model.step(gpus).efficiency / model.step(base).efficiency / efficiency - 1


@pytest.mark.parametrize(("model", "base", "efficiency"), SCALING.values(), ids=SCALING)
def test_published_scaling_is_met_within_six_percent(model: Forecast, base: int, efficiency: float) -> None:
    assert abs(too_high(model, base, efficiency)) < 0.06


@pytest.mark.parametrize(("model", "base", "efficiency"), SLOWER.values(), ids=SLOWER)
def test_for_programs_that_scale_worse_than_their_machine_it_is_up_to_14_percent_too_high(
    model: Forecast, base: int, efficiency: float
) -> None:
    assert 0.06 < too_high(model, base, efficiency) < 0.14


@pytest.mark.parametrize(("model", "base", "efficiency", "error"), NOT_FITTED.values(), ids=NOT_FITTED)
def test_figures_that_it_was_not_fitted_to(model: Forecast, base: int, efficiency: float, error: float) -> None:
    assert too_high(model, base, efficiency) == pytest.approx(error, abs=0.006)


def test_vgg_waits_for_the_network_where_resnet_does_not() -> None:
    bound = {name: model.step(512).bound for name, (model, *_) in SCALING.items() if name.startswith("Horovod")}
    assert bound == {"Horovod ResNet-101": "compute", "Horovod Inception-v3": "compute", "Horovod VGG-16": "network"}


def test_a_gpu_alone_waits_for_nobody() -> None:
    step = forecast().step(1)
    assert step.compute_s == step.seconds == 8.0  # eight micro-batches
    assert (step.efficiency, step.reduce_s, step.waited_s, step.nodes, step.bound) == (1.0, 0, 0, 1, "compute")


def test_all_buckets_but_the_last_hide_behind_backward() -> None:
    step = forecast().step(8)
    assert step.reduce_s == pytest.approx(2 * 7 / 8 * 104_857_600 / 0.8e9)  # of 1 GB/s, 80 %
    assert step.exposed_s == pytest.approx(step.reduce_s / 4)
    assert step.waited_s == pytest.approx(0.03 * 1.4344, rel=1e-3)
    assert step.seconds == pytest.approx(1 + 0.0430 + 0.0573, rel=1e-3)
    assert step.images_per_s == pytest.approx(800 / 1.1004, rel=1e-3)


def test_what_backward_cannot_hide_is_the_network_s() -> None:
    step = forecast(network_gb_s=0.1).step(8)
    assert step.exposed_s == pytest.approx(2.2938 - 2 / 3, rel=1e-4)
    assert step.bound == "network"


def test_in_a_node_its_own_links_count() -> None:
    assert forecast().step(4).reduce_s == pytest.approx(2 * 3 / 4 * 104_857_600 / 8e9)


def test_a_message_takes_its_time_for_each_bucket_and_doubling_of_nodes() -> None:
    slow, fast = (forecast(latency_us=latency).step(8).reduce_s for latency in (10.0, 0.0))
    assert slow - fast == pytest.approx(2 * 1 * 4 * 10e-6)  # two nodes, four buckets


def test_only_the_last_micro_batch_of_a_step_hides_gradients() -> None:
    step = forecast(recipe=Recipe(global_batch=1600, micro_batch=100), network_gb_s=0.1).step(8)
    assert step.compute_s == 2.0
    assert step.exposed_s == pytest.approx(2.2938 - 2 / 3, rel=1e-4)


def test_compressed_gradients_are_half_of_them() -> None:
    recipe = Recipe(global_batch=800, micro_batch=100, gradient_compression="bf16")
    assert forecast(recipe=recipe).step(8).reduce_s == pytest.approx(forecast().step(8).reduce_s / 2)


def test_a_slow_loader_bounds_the_step() -> None:
    step = forecast(cores=5, cpus_per_process=10).step(8)
    assert (step.bound, step.seconds, step.images_per_s) == ("loader", 2.0, 400.0)
    assert step.cores == 19  # 100 images in 1.1004 s at 5 a second and core


@pytest.mark.parametrize(("draws", "exact"), [(1, 0.0), (2, 0.5642), (8, 1.4236), (256, 2.8270)])
def test_the_slowest_of_many(draws: int, exact: float) -> None:
    assert slowest(draws) == pytest.approx(exact, rel=0.05)  # Harter 1961, table 1
