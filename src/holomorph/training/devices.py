"""A device by the name that torch gives it."""

from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException

from holomorph.errors import ConfigError


def several_devices(devices: int, nodes: int) -> Fabric:
    """A launched engine on so many devices of each of so many machines; it starts what torchrun or SLURM have not.

    Raises
    ------
    ConfigError
        Where so many devices are not there.
    """
    try:
        fabric = Fabric(accelerator="auto", devices=devices, num_nodes=nodes, strategy="ddp")
        fabric.launch()
    except (ValueError, MisconfigurationException) as error:
        reason = " ".join(str(error).split())[:150]
        raise ConfigError(
            f"{devices} devices on {nodes} machines cannot be used: {reason} Give what is there."
        ) from None
    return fabric


def one_device(name: str) -> Fabric:
    """The engine on one device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises
    ------
    ConfigError
        For a name that is none, and for a device that is not there.

    >>> str(one_device("cpu").device)
    'cpu'
    """
    kind, colon, number = str(name).partition(":")
    if colon and not number.isdigit():
        raise ConfigError(f"Cannot read the device {name!r}. Write cpu, cuda, cuda:1, mps or auto.")
    try:
        return Fabric(accelerator=kind, devices=[int(number)] if number and kind != "cpu" else 1)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:150]
        raise ConfigError(f"The device {name!r} cannot be used: {reason} Give cpu or auto.") from None
