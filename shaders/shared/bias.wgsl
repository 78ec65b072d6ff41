// Whether each neuron has a bias: the last row of the weights, of an input that spikes at every time step.
override BIAS: bool = false;
