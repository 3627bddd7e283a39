"""I3D R50, SlowFast R50, X3D and MViT in PyTorch, for train_step.py to compare with."""

import torch
from torch import nn

_BLOCKS = (3, 4, 6, 3)


def create(name: str, frames: int, crop: int, classes: int = 400) -> nn.Module:
    """A network by its published name, for clips of (batch, 3, frames, crop, crop)."""
    if name == "mvitv2_s_16x4":
        return mvit_v2(frames, crop, classes)
    if name.startswith("x3d"):
        return X3D(classes, (5, 10, 25, 15) if name == "x3d_l" else (3, 5, 11, 7))
    return {"i3d_8x8_r50": I3D, "slowfast_8x8_r50": SlowFast}[name](classes)


def mvit_v2(frames, crop, classes):
    """torchvision's, whose patches are counted for clips of this size."""
    from torchvision.models import video

    network = video.mvit_v2_s(num_classes=classes)
    side = -(-crop // 4)
    network.pos_encoding.temporal_size = frames // 2
    network.pos_encoding.spatial_size = (side, side)
    return network


class ConvNorm(nn.Sequential):
    """Convolution and normalization, then a ReLU unless told otherwise."""

    def __init__(self, inputs, outputs, kernel, stride=(1, 1, 1), relu=True):
        padding = tuple(size // 2 for size in kernel)
        layers = [
            nn.Conv3d(inputs, outputs, kernel, stride, padding, bias=False),
            nn.BatchNorm3d(outputs),
        ]
        super().__init__(*layers, *([nn.ReLU(inplace=True)] if relu else []))


class Bottleneck(nn.Module):
    """T x 1 x 1, 1 x 3 x 3 and 1 x 1 x 1 convolution beside a shortcut."""

    def __init__(self, inputs, inner, temporal_kernel, stride):
        super().__init__()
        strides = (1, stride, stride)
        self.branch = nn.Sequential(
            ConvNorm(inputs, inner, (temporal_kernel, 1, 1)),
            ConvNorm(inner, inner, (1, 3, 3), strides),
            ConvNorm(inner, 4 * inner, (1, 1, 1), relu=False),
        )
        self.shortcut = nn.Identity()
        if inputs != 4 * inner or stride > 1:
            self.shortcut = ConvNorm(inputs, 4 * inner, (1, 1, 1), strides, relu=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.branch(x) + self.shortcut(x))


def stem(width, temporal_kernel):
    return nn.Sequential(
        ConvNorm(3, width, (temporal_kernel, 7, 7), (1, 2, 2)),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    )


def stage(inputs, inner, kernels, stride):
    blocks = [Bottleneck(inputs, inner, kernels[0], stride)]
    return nn.Sequential(*blocks, *(Bottleneck(4 * inner, inner, k, 1) for k in kernels[1:]))


class I3D(nn.Module):
    """I3D R50."""

    def __init__(self, classes):
        super().__init__()
        alternating = ((3, 3, 3), (3, 1, 3, 1), (3, 1, 3, 1, 3, 1), (1, 3, 1))
        stages, inputs = [stem(64, 5)], 64
        for index, kernels in enumerate(alternating):
            inner = 64 * 2**index
            stages.append(stage(inputs, inner, kernels, 1 if index == 0 else 2))
            inputs = 4 * inner
            if index == 0:
                stages.append(nn.MaxPool3d((2, 1, 1)))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(2048, classes))

    def forward(self, clips):
        return self.head(self.stages(clips).mean((2, 3, 4)))


class SlowFast(nn.Module):
    """SlowFast R50: alpha 4, beta 8, lateral kernels of 7 frames."""

    def __init__(self, classes, alpha=4, beta=8):
        super().__init__()
        self.alpha = alpha
        self.slow, self.fast = nn.ModuleList([stem(64, 1)]), nn.ModuleList([stem(64 // beta, 5)])
        self.lateral = nn.ModuleList()
        slow, fast = 64, 64 // beta
        for index, count in enumerate(_BLOCKS):
            self.lateral.append(ConvNorm(fast, 2 * fast, (7, 1, 1), (alpha, 1, 1)))
            inner, stride = 64 * 2**index, 1 if index == 0 else 2
            kernel = 1 if index < 2 else 3
            self.slow.append(stage(slow + 2 * fast, inner, (kernel,) * count, stride))
            self.fast.append(stage(fast, inner // beta, (3,) * count, stride))
            slow, fast = 4 * inner, 4 * inner // beta
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(slow + fast, classes))

    def forward(self, clips):
        frames = clips.shape[2]
        places = torch.linspace(0, frames - 1, frames // self.alpha).long()
        slow, fast = self.slow[0](clips[:, :, places.to(clips.device)]), self.fast[0](clips)
        stages = zip(self.lateral, self.slow[1:], self.fast[1:], strict=True)
        for lateral, slow_stage, fast_stage in stages:
            slow = slow_stage(torch.cat([slow, lateral(fast)], 1))
            fast = fast_stage(fast)
        return self.head(torch.cat([slow.mean((2, 3, 4)), fast.mean((2, 3, 4))], 1))


class SqueezeExcitation(nn.Module):
    """Scales channels by what their averages over all positions say."""

    def __init__(self, channels, squeezed):
        super().__init__()
        self.scale = nn.Sequential(
            nn.AdaptiveAvgPool3d(1),
            nn.Conv3d(channels, squeezed, 1),
            nn.ReLU(inplace=True),
            nn.Conv3d(squeezed, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return x * self.scale(x)


class X3DBlock(nn.Module):
    """Pointwise, depth-wise 3 x 3 x 3 and pointwise convolution beside a shortcut."""

    def __init__(self, inputs, outputs, squeezed, stride):
        super().__init__()
        inner, strides = int(2.25 * outputs), (1, stride, stride)
        depthwise = nn.Conv3d(inner, inner, 3, strides, 1, groups=inner, bias=False)
        self.branch = nn.Sequential(
            ConvNorm(inputs, inner, (1, 1, 1)),
            depthwise,
            nn.BatchNorm3d(inner),
            SqueezeExcitation(inner, squeezed) if squeezed else nn.Identity(),
            nn.SiLU(inplace=True),
            ConvNorm(inner, outputs, (1, 1, 1), relu=False),
        )
        self.shortcut = nn.Identity()
        if inputs != outputs or stride > 1:
            self.shortcut = ConvNorm(inputs, outputs, (1, 1, 1), strides, relu=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.branch(x) + self.shortcut(x))


class X3D(nn.Module):
    """X3D of any depth: (3, 5, 11, 7) blocks for XS, S and M."""

    def __init__(self, classes, blocks):
        super().__init__()
        layers = [
            nn.Conv3d(3, 24, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False),
            nn.Conv3d(24, 24, (5, 1, 1), 1, (2, 0, 0), groups=24, bias=False),
            nn.BatchNorm3d(24),
            nn.ReLU(inplace=True),
        ]
        inputs = 24
        for outputs, squeezed, count in zip((24, 48, 96, 192), (8, 8, 16, 32), blocks, strict=True):
            for index in range(count):
                block = squeezed if index % 2 == 0 else None, 2 if index == 0 else 1
                layers.append(X3DBlock(inputs, outputs, *block))
                inputs = outputs
        self.features = nn.Sequential(*layers, ConvNorm(192, 432, (1, 1, 1)))
        self.head = nn.Sequential(
            nn.Linear(432, 2048, bias=False),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(2048, classes),
        )

    def forward(self, clips):
        return self.head(self.features(clips).mean((2, 3, 4)))
