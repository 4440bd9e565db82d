"""ERPNext as its documentation and its source describe it, for tests and the demo."""
