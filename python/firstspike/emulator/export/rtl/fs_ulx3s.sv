// The core on a ULX3S board, not tested on hardware: pixels come over the USB serial port, the class goes back as one byte and to the
// LEDs. 8 bits, no parity, one stop bit. The host sends an image and waits for its class before it sends the next.
module fs_ulx3s #(
    parameter int CLOCK = 25_000_000,
    parameter int BAUD = 1_000_000
) (
    input logic clk_25mhz,
    input logic ftdi_txd,     // from the host
    output logic ftdi_rxd,    // to the host
    output logic [7:0] led,
    output logic wifi_gpio0   // high: the board's other processor stays away
);
  localparam int BIT = CLOCK / BAUD;
  localparam int BITS = $clog2(BIT + 1);
  assign wifi_gpio0 = 1'b1;

  logic [3:0] resets = '1;
  logic reset;
  assign reset = resets[3];
  always_ff @(posedge clk_25mhz) resets <= resets << 1;

  // Receive: half a bit after the falling edge, then every bit.
  logic [2:0] line;
  logic [BITS-1:0] receive_clock;
  logic [3:0] receive_bit;
  logic [7:0] pixel;
  logic receiving, pixel_valid, pixel_ready;
  always_ff @(posedge clk_25mhz) begin
    line <= {line[1:0], ftdi_txd};
    if (pixel_ready) pixel_valid <= 1'b0;
    if (reset) {receiving, pixel_valid, line} <= 5'b00111;
    else if (!receiving) begin
      receiving <= !line[2];
      receive_clock <= BITS'(BIT / 2);
      receive_bit <= '0;
    end else if (receive_clock != '0) receive_clock <= receive_clock - 1'b1;
    else begin
      receive_clock <= BITS'(BIT - 1);
      receive_bit <= receive_bit + 1'b1;
      if (receive_bit == 0) receiving <= !line[2];
      else if (receive_bit <= 8) pixel <= {line[2], pixel[7:1]};
      else begin
        receiving <= 1'b0;
        pixel_valid <= line[2];
      end
    end
  end

  logic result_valid;
  logic [15:0] result;
  fs_core core (
      .clock(clk_25mhz),
      .reset,
      .pixel_valid,
      .pixel_ready,
      .pixel,
      .result_valid,
      .result_ready(!sending),
      .result
  );

  // Send: a start bit, the class, a stop bit.
  logic [BITS-1:0] send_clock;
  logic [9:0] frame;
  logic sending;
  assign sending = frame != '0;
  assign ftdi_rxd = !sending || frame[0];
  always_ff @(posedge clk_25mhz) begin
    if (reset) {frame, led} <= '0;
    else if (result_valid && !sending) begin
      frame <= {1'b1, result[7:0], 1'b0};
      send_clock <= BITS'(BIT - 1);
      led <= result[7:0];
    end else if (send_clock != '0) send_clock <= send_clock - 1'b1;
    else begin
      frame <= frame >> 1;
      send_clock <= BITS'(BIT - 1);
    end
  end
  logic unused;
  assign unused = &{1'b0, result[15:8]};
endmodule
