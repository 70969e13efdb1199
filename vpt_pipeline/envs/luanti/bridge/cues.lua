-- Things that Minecraft shows and Luanti does not: crouching lowers the eye, sprinting widens the view.
local EYE, CROUCHED_EYE, SPRINT_VIEW, SECONDS = 1.625, 1.27, 1.12, 0.1
local crouched, sprinting

function bridge.show_cues(player)
  local control = player:get_player_control()
  if control.sneak ~= crouched then
    crouched = control.sneak
    player:set_properties {eye_height = crouched and CROUCHED_EYE or EYE}
  end
  local sprint = control.aux1 and control.up
  if sprint ~= sprinting then
    sprinting = sprint
    player:set_fov(sprint and SPRINT_VIEW or 0, true, SECONDS)
  end
end
