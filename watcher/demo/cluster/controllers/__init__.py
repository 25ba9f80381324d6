"""Controllers: each looks at the state of one kind of object and moves it one step towards the desired one."""
