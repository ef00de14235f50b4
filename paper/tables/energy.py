"""Work and energy."""

from tools.tables import Column

from .. import published
from ..grid import Profile
from ..job import COUNTED
from ..measures import CHIP, frame
from ..records import Store
from .table import SETUP, Table, result, rules, spread


def energy(profile: Profile, store: Store) -> Table:
    """Spikes, additions and energy of the nets of Table 1 beside their ReLU counterparts."""
    raw = frame(profile, store, "table1")
    constants = published.source()["energy"]
    columns = (
        SETUP,
        Column("label", "neurons"),
        Column("spikes_per_neuron", "spikes per neuron", spread("spikes_per_neuron", 3)),
        Column("additions", "additions, 10³", result("additions", 1, 1e-3)),
        Column("macs", "multiply-accumulates, 10³", spread("macs", 1, 1e-3)),
        Column("chip_energy", "energy with memory, nJ", spread("chip_energy", 0)),
        Column("energy", "for comparison with literature: synapses, nJ", spread("energy", 1)),
        Column("updates", "membrane updates, 10³", spread("updates", 1, 1e-3)),
        Column("update_energy", "for comparison with literature: updates, nJ", spread("update_energy", 1)),
    )
    note = (
        f"Energy with memory is by the table {CHIP}, in integers, clocked. The energies of synapses and updates are arithmetic "
        f"alone, for comparison with literature: {constants['add']} pJ per addition, {constants['mac']} pJ per "
        f"multiply-accumulate ({constants['name']}) [{constants['tag']}]. They leave out memory, which costs more than the "
        "arithmetic on real hardware, and predict no chip. Direct coding multiplies in the first layer, "
        f"once per sample. Spikes per neuron are of all test images, the counts of the first {COUNTED:,}. "
        "Membrane updates (neurons times T, an addition each) are what a chip with a clock pays; an event-driven one does not."
    )
    return Table("energy", "Work and energy per sample.", raw, columns, note, rules(raw, "setup"))
