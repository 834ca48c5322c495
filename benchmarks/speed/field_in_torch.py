"""The nets of npkd.zoo as modules of PyTorch, with the names of the field's distillation code."""

import torch
from torch import nn
from torch.nn import functional


def sequence(*modules):
    return nn.Sequential(*modules)


def conv(inputs, outputs, kernel=3, stride=1, **options):
    options = {"padding": kernel // 2, "bias": False} | options
    return nn.Conv2d(inputs, outputs, kernel, stride, **options)


class Residual(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs, stride=stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv(outputs, outputs), nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            shortcut = conv(inputs, outputs, 1, stride)
            self.downsample = sequence(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


def stage(block, count, inputs, outputs, stride):
    rest = [block(outputs, outputs, 1) for _ in range(count - 1)]
    return sequence(block(inputs, outputs, stride), *rest)


class ResNet(nn.Module):
    def __init__(self, depth, widths, classes):
        super().__init__()
        first, one, two, three = widths
        count = (depth - 2) // 6
        self.conv1, self.bn1 = conv(3, first), nn.BatchNorm2d(first)
        self.layer1 = stage(Residual, count, first, one, 1)
        self.layer2 = stage(Residual, count, one, two, 2)
        self.layer3 = stage(Residual, count, two, three, 2)
        self.fc = nn.Linear(three, classes)

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean(dim=(2, 3)))


class PreActivation(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, outputs, stride=stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), conv(outputs, outputs)
        same = inputs == outputs
        self.convShortcut = None if same else conv(inputs, outputs, 1, stride)

    def forward(self, x):
        a = functional.relu(self.bn1(x))
        y = self.conv2(functional.relu(self.bn2(self.conv1(a))))
        return y + (x if self.convShortcut is None else self.convShortcut(a))


class Group(nn.Module):
    def __init__(self, *sizes):
        super().__init__()
        self.layer = stage(PreActivation, *sizes)

    def forward(self, x):
        return self.layer(x)


class WideResNet(nn.Module):
    def __init__(self, depth, widen, classes):
        super().__init__()
        one, two, three = 16 * widen, 32 * widen, 64 * widen
        count = (depth - 4) // 6
        self.conv1 = conv(3, 16)
        self.block1 = Group(count, 16, one, 1)
        self.block2 = Group(count, one, two, 2)
        self.block3 = Group(count, two, three, 2)
        self.bn1, self.fc = nn.BatchNorm2d(three), nn.Linear(three, classes)

    def forward(self, x):
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(functional.relu(self.bn1(x)).mean(dim=(2, 3)))


class VGG8(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        widths = (3, 64, 128, 256, 512, 512)
        for k in range(5):
            inputs, outputs = widths[k : k + 2]
            block = sequence(conv(inputs, outputs, bias=True), nn.BatchNorm2d(outputs))
            self.add_module(f"block{k}", block)
        self.classifier = nn.Linear(512, classes)

    def forward(self, x):
        pools = 4 if x.shape[2] == 64 else 3
        for k in range(5):
            x = functional.relu(getattr(self, f"block{k}")(x))
            x = functional.max_pool2d(x, 2) if k < pools else x
        return self.classifier(x.mean(dim=(2, 3)))


class Inverted(nn.Module):
    def __init__(self, inputs, outputs, wider, stride):
        super().__init__()
        inner = inputs * wider
        self.conv = sequence(
            conv(inputs, inner, 1),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            conv(inner, inner, 3, stride, groups=inner),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            conv(inner, outputs, 1),
            nn.BatchNorm2d(outputs),
        )
        self.same = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.conv(x) if self.same else self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.conv1 = sequence(conv(3, 16, stride=2), nn.BatchNorm2d(16), nn.ReLU())
        groups, inputs = [], 16
        for wider, outputs, count, stride in (
            (1, 8, 1, 1),
            (6, 12, 2, 1),
            (6, 16, 3, 2),
            (6, 32, 4, 2),
            (6, 48, 3, 1),
            (6, 80, 3, 2),
            (6, 160, 1, 1),
        ):
            blocks = []
            for k in range(count):
                blocks.append(Inverted(inputs, outputs, wider, stride if k == 0 else 1))
                inputs = outputs
            groups.append(sequence(*blocks))
        self.blocks = nn.ModuleList(groups)
        self.conv2 = sequence(conv(160, 1280, 1), nn.BatchNorm2d(1280), nn.ReLU())
        self.classifier = sequence(nn.Linear(1280, classes))

    def forward(self, x):
        x = self.conv1(x)
        for group in self.blocks:
            x = group(x)
        return self.classifier(self.conv2(x).mean(dim=(2, 3)))


NARROW, WIDE = (16, 16, 32, 64), (32, 64, 128, 256)
MODELS = {
    "resnet8": lambda classes: ResNet(8, NARROW, classes),
    "resnet14": lambda classes: ResNet(14, NARROW, classes),
    "resnet20": lambda classes: ResNet(20, NARROW, classes),
    "resnet8x4": lambda classes: ResNet(8, WIDE, classes),
    "wrn_16_1": lambda classes: WideResNet(16, 1, classes),
    "wrn_16_2": lambda classes: WideResNet(16, 2, classes),
    "vgg8": VGG8,
    "mobilenetv2": MobileNetV2,
}


def in_torch(name, network, classes=10):
    """The module with a network's weights and state, in its dtype."""
    module = MODELS[name](classes)
    values = {key: torch.from_numpy(value.copy()) for key, value in network.state_dict().items()}
    module.to(next(iter(values.values())).dtype).load_state_dict(values)
    return module
