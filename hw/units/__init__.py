"""The units that the generator offers, one file each."""

from collections.abc import Callable

from amaranth.lib import wiring

from hw.config import UnitConfig
from hw.units.axi_tile import AxiTileUnit
from hw.units.correction import correction_unit
from hw.units.decoder import decoder_unit
from hw.units.decompressor import DecompressorUnit
from hw.units.encoder import encoder_unit
from hw.units.epilogue import epilogue_unit
from hw.units.packer import PackerUnit
from hw.units.pe import pe_unit
from hw.units.scale_memory import ScaleMemoryUnit
from hw.units.selector import selector_unit
from hw.units.sparsifier import sparsifier_unit
from hw.units.statistics import statistics_unit
from hw.units.tile import TileUnit
from hw.units.unpacker import UnpackerUnit

__all__ = ["create_unit"]

_UNITS: dict[str, Callable[[UnitConfig], wiring.Component]] = {
    "sparsifier": sparsifier_unit,
    "selector": selector_unit,
    "encoder": encoder_unit,
    "decoder": decoder_unit,
    "decompressor": DecompressorUnit,
    "packer": PackerUnit,
    "unpacker": UnpackerUnit,
    "pe": pe_unit,
    "statistics": statistics_unit,
    "scale_memory": ScaleMemoryUnit,
    "correction": correction_unit,
    "epilogue": epilogue_unit,
    "tile": TileUnit,
    "axi_tile": AxiTileUnit,
}


def create_unit(config: UnitConfig) -> wiring.Component:
    """The unit that the configuration describes; its members are its streams."""
    return _UNITS[config.unit](config)
