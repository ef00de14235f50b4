// Memories. Each becomes block RAM, or lookup tables where it is small. A read takes a cycle but that of a table.
/* verilator lint_off DECLFILENAME */

// Tables are loaded from the folder in which they lie; in simulation +tables=FOLDER names another.
`ifdef SYNTHESIS
`define FS_LOAD(words) initial $readmemh(FILE, words);
`else
`define FS_LOAD(words) \
  string folder; \
  initial begin \
    if (!$value$plusargs("tables=%s", folder)) folder = "."; \
    $readmemh({folder, "/", FILE}, words); \
  end
`endif

// A port to write, a port to read. No address is read in the cycle in which it is written.
module fs_ram #(
    parameter int WIDTH = 1,
    parameter int DEPTH = 2
) (
    input logic clock,
    input logic write,
    input fs::address_t write_address,
    input logic [WIDTH-1:0] write_value,
    input logic read,
    input fs::address_t read_address,
    output logic [WIDTH-1:0] value
);
  (* no_rw_check *) logic [WIDTH-1:0] words[DEPTH];
  always_ff @(posedge clock) begin
    if (write) words[write_address[$clog2(DEPTH)-1:0]] <= write_value;
    if (read) value <= words[read_address[$clog2(DEPTH)-1:0]];
  end
  logic unused;
  assign unused = &{1'b0, write_address, read_address};
endmodule

// Constants, with a port to read.
module fs_rom #(
    parameter int WIDTH = 1,
    parameter int DEPTH = 2,
    parameter FILE = ""
) (
    input logic clock,
    input logic read,
    input fs::address_t address,
    output logic [WIDTH-1:0] value
);
  logic [WIDTH-1:0] words[DEPTH];
  `FS_LOAD(words)
  always_ff @(posedge clock) if (read) value <= words[address[$clog2(DEPTH)-1:0]];
  logic unused;
  assign unused = &{1'b0, address};
endmodule

// Constants, with two ports to read.
module fs_rom_2 #(
    parameter int WIDTH = 1,
    parameter int DEPTH = 2,
    parameter FILE = ""
) (
    input logic clock,
    input logic read_0,
    input logic read_1,
    input fs::address_t address_0,
    input fs::address_t address_1,
    output logic [WIDTH-1:0] value_0,
    output logic [WIDTH-1:0] value_1
);
  logic [WIDTH-1:0] words[DEPTH];
  `FS_LOAD(words)
  always_ff @(posedge clock) if (read_0) value_0 <= words[address_0[$clog2(DEPTH)-1:0]];
  always_ff @(posedge clock) if (read_1) value_1 <= words[address_1[$clog2(DEPTH)-1:0]];
  logic unused;
  assign unused = &{1'b0, address_0, address_1};
endmodule

// Constants that are there at once.
module fs_table #(
    parameter int WIDTH = 1,
    parameter int DEPTH = 2,
    parameter FILE = ""
) (
    input fs::address_t address,
    output logic [WIDTH-1:0] value
);
  logic [WIDTH-1:0] words[DEPTH];
  `FS_LOAD(words)
  assign value = words[address[$clog2(DEPTH)-1:0]];
  logic unused;
  assign unused = &{1'b0, address};
endmodule
