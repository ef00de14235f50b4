// Sizes and records of the core: what an export writes, and what its parts pass to each other.
//
// The core computes nets of windows, layer by layer and neuron by neuron, in the closed form of docs/emulator.md. A level is T - t for
// a spike in step t of a window of T steps, and 0 for silence. The words of this core:
//
//   tile     neurons side by side, one per lane: up to LANES output channels at one place of a layer's map. A cluster of LANES lanes
//            computes one tile at a time; several clusters compute neighbouring tiles
//   spikes   the memory of the spikes of all maps. The spikes of a map are a list in the order of its neurons: row, column, channel.
//            A spike is its neuron's number in its row of the map, and its level. Silent neurons are not in the list
//   mark     an address in the list: where the spikes of a column of the map begin (or those of a block of its channels). A run of
//            neighbouring neurons is what lies between two marks. After average pooling a column is that of the pooled map
//   site     where a kernel lies. A tile has one, or as many as a max pool that is computed with it takes together
//   base     the row of weights of the map's neuron 0 in a row under the kernel: neuron n has the row base + n
//
// Numbers of rows, columns and marks may be negative where a kernel lies on the padding.
package fs;
`include "sizes.svh"

  typedef logic [ADDRESS_BITS-1:0] address_t;
  typedef logic signed [ADDRESS_BITS-1:0] position_t;
  typedef logic [COUNT_BITS-1:0] count_t;
  typedef logic [LANE_BITS-1:0] lane_t;
  typedef logic [LEVEL_BITS-1:0] level_t;
  typedef logic signed [MEMBRANE_BITS-1:0] membrane_t;

  // How a layer takes spikes from one source. Rows are those of the source before pooling; x counts marks.
  typedef struct packed {
    position_t y, x;               // the kernel's first row and column of tile (0, 0)
    address_t row;                 // the mark of column 0 in that row
    address_t base;                // of tile (0, 0), without that of its channels
    address_t pitch;               // marks per row
    address_t rows;                // rows that have synapses
    address_t span;                // marks under one run of the kernel
    count_t kernel_rows, taps;     // less one: rows under the kernel, runs per row
    count_t repeats;               // less one: rows that share their weights, which are pooled together
    address_t tap_x, tap_base;     // from one run of a row to the next
    address_t row_base;            // from the last run of a row to the next row with other weights
    address_t tile_x, tile_base;   // from one column of tiles to the next
    address_t tile_y, tile_row;    // from one row of tiles to the next
  } input_t;

  // A map of neurons, and the list of their spikes.
  typedef struct packed {
    address_t spikes, marks;       // where its list and its marks begin
    count_t rows, columns;         // less one
    count_t pooled;                // less one: columns that share a mark
    address_t used_rows, used_columns;   // beyond them nobody has a synapse
    address_t channels;
  } map_t;

  // The input map. The border is not in the image.
  typedef struct packed {
    map_t own;
    count_t border_rows, border_columns;
  } image_t;

  // A layer.
  typedef struct packed {
    input_t main, shortcut;
    logic both;                    // it has a shortcut
    logic each;                    // a max pool alone: each spike counts as a site of its own
    logic readout;                 // it never fires; its membranes are the scores
    logic last_use;                // after it the next image is loaded
    address_t tiles;               // less one: tiles at one place
    address_t first_tile;          // its first row in the table of tiles
    count_t site_rows, site_columns;   // less one: sites of a tile
    address_t site_x, site_base;   // from one site of a row to the next
    address_t site_y, site_row;    // from one row of sites to the next
    level_t steps;                 // of the layer's window, T
    map_t own;
  } layer_t;

  // Tiles at any place of a layer: some of its channels.
  typedef struct packed {
    lane_t lanes;                  // less one: neurons
    address_t channel;             // the first
    logic marked;                  // a mark follows
    address_t main_x, main_base;   // the block of channels that it reads, in marks, and its base
    address_t shortcut_x, shortcut_base;
  } channels_t;

  // Where the kernel of a tile lies on the map of one source, or where one run of it begins.
  typedef struct packed {
    position_t y, x;
    address_t row;                 // the mark of column 0 in row y
    address_t base;
  } window_t;

  // A tile, from the dispatcher to a cluster. number: of the tile in the table of tiles.
  typedef struct packed {
    window_t main, shortcut;
    address_t number;
  } tile_t;

  // A run: `count` spikes from address `first` on, the neurons of a row from one mark to another.
  typedef struct packed {
    address_t first, count, base;
    logic silent;                  // no spike at all: the membrane is its bias
    logic closes, ends;            // the last run of its site, and of its tile
    address_t number;
  } run_t;

  // A spike on its way to the membranes.
  typedef struct packed {
    logic valid, silent;
    logic closes, ends;            // the last spike of its site, and of its tile
    address_t base;
    address_t number;
  } event_t;

  // What is written to the memories of spikes and marks in one cycle.
  typedef struct packed {
    logic spike;
    address_t spike_address;
    address_t neuron;
    level_t level;
    logic mark;
    address_t mark_address, mark_value;
  } write_t;

  // One neuron on its way from its membrane to the list of spikes.
  typedef struct packed {
    logic valid;                   // something is to be written or to be ended
    logic spike;                   // a neuron; else a tile without a spike
    logic kept;                    // somebody has a synapse from it
    logic mark;                    // a mark follows
    logic ends;                    // the layer's last
    address_t neuron;              // in its row of the map
    logic [23:0] index;            // in the layer: for those who watch
    level_t steps;
  } token_t;
endpackage
